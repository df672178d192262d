import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_model import Shape, bpe_vocab, random_weights, spm_vocab, write_adapter, write_model

from rella_cpp import ContextError, Engine, EngineError, EngineSettings, GGUFError, InputError
from rella_cpp.engine.lora import Adapter
from rella_cpp.engine.machine.cores import usable_cores
from rella_cpp.engine.segments import Prompt, Span

F32 = EngineSettings(kv_type="f32", flash_attn="off", threads=1)
shared = settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
pieces = st.lists(st.lists(st.integers(3, 350), min_size=1, max_size=9).map(tuple), min_size=1, max_size=4)


def prompt_of(parts: list[tuple[int, ...]]) -> Prompt:
    return Prompt(tuple(np.asarray(part, dtype=np.int32) for part in parts))


def text_prompt(engine: Engine, *parts: str) -> Prompt:
    encoded = engine.encode([Span(part) for part in parts])
    return Prompt.cut(encoded.tokens, encoded.starts[1:])


def logits(engine: Engine, *prompts: Prompt) -> list[np.ndarray]:
    return list(engine.logits(prompts))


@shared
@given(first=pieces, second=pieces)
def test_a_prompt_gives_the_same_bits_alone_or_in_company(
    exact_engine: Engine, first: list[tuple[int, ...]], second: list[tuple[int, ...]]
) -> None:
    # Bitwise: the kept prefix, where the two share leading segments, must hold what computing it again gives.
    engine, alone = exact_engine, []
    for parts in (first, second):
        engine._decoder.forget()
        alone += logits(engine, prompt_of(parts))
    together = logits(engine, *(prompt_of(parts) for parts in (first, second, first, [*first, *second], second)))
    for got, wanted in zip([*together[:3], together[4]], [alone[0], alone[1], alone[0], alone[1]], strict=True):
        np.testing.assert_array_equal(got, wanted)


@pytest.fixture
def precise(spm_model: Path) -> Iterator[tuple[Engine, Engine]]:
    """An engine in default mode, and an exact one."""
    with Engine.from_gguf(spm_model, F32) as one, Engine.from_gguf(spm_model, replace(F32, exact=True)) as other:
        yield one, other


@shared
@given(first=pieces, second=pieces)
def test_packing_and_sharing_change_last_bits_alone(
    precise: tuple[Engine, Engine], first: list[tuple[int, ...]], second: list[tuple[int, ...]]
) -> None:
    # Weights, keys and values in F32: rounding gives 1e-3 at most, a wrong position or sequence 0.1 or more.
    engine, exact_engine = precise
    prompts = [prompt_of(parts) for parts in (first, second, [*first, *second], [*second, *first], first)]
    for found, wanted in zip(logits(engine, *prompts), logits(exact_engine, *prompts), strict=True):
        np.testing.assert_allclose(found, wanted, atol=5e-3)


@shared
@given(first=pieces, second=pieces)
def test_a_call_gives_the_same_bits_whatever_call_came_before(
    engine: Engine, first: list[tuple[int, ...]], second: list[tuple[int, ...]]
) -> None:
    prompts = [prompt_of(parts) for parts in (second, [*second, (9,)], [*second, (7, 8)])]
    engine._decoder.forget()
    wanted = logits(engine, *prompts)
    logits(engine, prompt_of(first), *prompts[1:])
    np.testing.assert_array_equal(logits(engine, *prompts), wanted)


def test_what_is_shared_is_not_decoded_again(engine: Engine, exact_engine: Engine) -> None:
    for one in (engine, exact_engine):
        prompts = [prompt_of([(5, 6, 7), (8, 9), (10, last)]) for last in (11, 12)]
        logits(one, *prompts, *prompts)
        assert one.prompt_tokens == 28
    assert (engine.decoded_tokens, exact_engine.decoded_tokens) == (
        8,
        9,
    )  # 10 is within a segment: exact mode reads it twice


def test_embeddings_in_place_of_tokens_give_the_same_bits(tmp_path: Path) -> None:
    weights = random_weights(len(spm_vocab().tokens), Shape(), seed=0)
    with Engine.from_gguf(write_model(tmp_path / "m.gguf", weights=weights), F32) as engine:
        tokens = np.asarray([40, 41, 42], dtype=np.int32)
        tail = np.asarray([50, 51], dtype=np.int32)
        wanted, got = logits(engine, Prompt((tokens, tail)), Prompt((weights["token_embd.weight"][tokens], tail)))
    np.testing.assert_array_equal(got, wanted)


def test_several_outputs_are_the_logits_of_the_last_positions(engine: Engine) -> None:
    tokens = tuple(range(20, 40))
    (several,) = engine.logits([Prompt((np.asarray(tokens, dtype=np.int32),), outputs=3)])
    for back in range(3):
        (one,) = engine.logits([prompt_of([tokens[: len(tokens) - 2 + back]])])
        np.testing.assert_allclose(several[back], one[0], atol=1e-4)


@pytest.mark.parametrize("ctx", [1, 2, 63, 64])
def test_small_contexts_do_not_stop_the_process(spm_model: Path, ctx: int) -> None:
    with Engine.from_gguf(spm_model, EngineSettings(ctx=ctx)) as engine:
        assert len(logits(engine, prompt_of([(30,)]), prompt_of([(31,)]))) == 2


def test_reading_within_reading_is_refused(engine: Engine) -> None:
    prompts = [prompt_of([(30, 31, last)]) for last in (32, 33)]
    with pytest.raises(EngineError, match="the model is reading"):
        engine.read_logits(prompts, lambda *_: engine.raw(prompts[0].segments[0]))  # type: ignore[arg-type]
    assert len(logits(engine, *prompts)) == 2


def test_embeddings_that_differ_in_the_sign_of_zero_are_not_taken_for_each_other(engine: Engine) -> None:
    rows = np.zeros((40, 16), dtype=np.float32)
    others = rows.copy()
    others[-1] = -0.0
    prompts = [Prompt((segment, np.arange(20, 50, dtype=np.int32))) for segment in (rows, others)]
    found: dict[int, np.ndarray] = {}
    engine.read_logits(prompts, found.__setitem__, keep=True)
    assert sorted(found) == [0, 1]


def test_long_segments_are_cut_into_batches(models: Path) -> None:
    # 1,300 positions in one segment: three decode calls; the last row must still be that of the last position.
    path = write_model(models / "long.gguf", shape=Shape(ctx=2048))
    with Engine.from_gguf(path, F32) as engine:
        tokens = tuple(20 + i % 200 for i in range(1300))
        whole, cut = logits(engine, prompt_of([tokens]), prompt_of([tokens[:700], tokens[700:1290], tokens[1290:]]))
        np.testing.assert_allclose(whole, cut, atol=1e-4)
        (one,) = engine.hidden_means([text_prompt(engine, "movie " * 400)])
        assert one.shape == (16,)


def test_what_the_model_cannot_read_is_refused(engine: Engine) -> None:
    with pytest.raises(ValueError, match="outside"):
        logits(engine, prompt_of([(1, 10**6)]))
    with pytest.raises(ValueError, match="float32"):
        logits(engine, Prompt((np.zeros((2, 17), dtype=np.float32),)))
    with pytest.raises(ContextError, match="512"):
        logits(engine, prompt_of([(5,) * 513]))
    with pytest.raises(ValueError, match="segment"):
        Prompt(())
    with pytest.raises(ValueError, match="outputs"):
        Prompt((np.asarray([1], dtype=np.int32),), outputs=2)


def test_hidden_means_do_not_depend_on_company(any_model: Path) -> None:
    texts = ["Movie. Title: Heat.", "x", "Movie. Title: Alien. Year: 1979."]
    # To the bit where it is promised, up to rounding where not.
    for exact, tolerance in ((True, 0), (False, 1e-3)):
        with Engine.from_gguf(any_model, EngineSettings(exact=exact)) as engine:
            prompts = [text_prompt(engine, *cut) for text in texts for cut in ((text,), (text[:8], text[8:]))]
            together = list(engine.hidden_means(prompts))
            for prompt, wanted in zip(prompts, together, strict=True):
                (alone,) = engine.hidden_means([prompt])
                np.testing.assert_allclose(alone, wanted, rtol=0, atol=tolerance)
                assert alone.dtype == np.float32 and alone.shape == (engine.n_embd,)


def test_an_adapter_changes_scores_and_goes_without_reloading(engine: Engine, adapter: Path) -> None:
    prompt = prompt_of([(30, 31, 32), (33, 34)])
    (before,) = engine.logits([prompt])
    vector = next(engine.hidden_means([text_prompt(engine, "movie")]))
    (full,) = engine.logits([prompt], [Adapter(adapter)])
    (half,) = engine.logits([prompt], [Adapter(adapter, 0.5)])
    assert np.abs(full - before).max() > 1e-3 and np.abs(half - full).max() > 1e-3
    # Embedding is the base model's; nothing of an adapter is left for whoever comes next.
    np.testing.assert_array_equal(next(engine.hidden_means([text_prompt(engine, "movie")])), vector)
    np.testing.assert_array_equal(next(engine.logits([prompt], [Adapter(adapter, 0.5)])), half)
    np.testing.assert_array_equal(next(engine.logits([prompt])), before)


def test_states_are_what_means_and_logits_come_from(any_engine: Engine, any_model: Path) -> None:
    prompts = [prompt_of([(30, 31, 32), last]) for last in ((33, 34), (33, 35, 36), tuple(range(40, 47)))]
    with Engine.from_gguf(any_model, EngineSettings(exact=True)) as exact:
        _check_states(any_engine, prompts, 1e-2, 1e-2)
        _check_states(exact, prompts, 1e-5, 1e-4)
        # The same bits alone, after another mode, and in company.
        for prompt, states in zip(prompts, list(exact.states(prompts)), strict=True):
            (alone,) = exact.states([prompt])
            np.testing.assert_array_equal(alone.hidden, states.hidden)
            np.testing.assert_array_equal(alone.logits, states.logits)


def _check_states(engine: Engine, prompts: list[Prompt], of_means: float, of_logits: float) -> None:
    for prompt, states in zip(prompts, engine.states(prompts), strict=True):
        (mean,) = engine.hidden_means([prompt], last=True)
        np.testing.assert_allclose(states.hidden.mean(axis=0), mean, atol=of_means)
        np.testing.assert_allclose(states.logits, next(engine.logits([prompt]))[-1], atol=of_logits)


def test_an_adapter_does_what_its_numbers_say(tmp_path: Path) -> None:
    # W + scale * alpha / rank * B A, computed into the weights by numpy, must give the adapter's logits.
    shape, rank = Shape(), 2
    weights = random_weights(len(spm_vocab().tokens), shape, seed=0)
    path = write_adapter(tmp_path / "a.gguf", rank=rank, seed=5)
    random = np.random.default_rng(5)
    merged = dict(weights)
    for i in range(shape.layers):
        for name, rows in (("attn_q", shape.embd), ("attn_v", shape.kv)):
            a = random.standard_normal((rank, shape.embd)).astype(np.float32)
            b = random.standard_normal((rows, rank)).astype(np.float32)
            key = f"blk.{i}.{name}.weight"
            delta = 0.5 * 2.0 * (b @ a)
            if name == "attn_q":  # the adapter's rows are in llama.cpp's order, the weights' not yet
                delta = delta.reshape(shape.heads, -1, 2, shape.embd).swapaxes(1, 2).reshape(shape.embd, shape.embd)
            merged[key] = merged[key] + delta
    prompt = prompt_of([(30, 31, 32, 33)])
    with Engine.from_gguf(write_model(tmp_path / "base.gguf", weights=weights), F32) as engine:
        (got,) = engine.logits([prompt], [Adapter(path, 0.5)])
    with Engine.from_gguf(write_model(tmp_path / "merged.gguf", weights=merged), F32) as engine:
        (wanted,) = engine.logits([prompt])
    np.testing.assert_allclose(got, wanted, atol=1e-4)


def test_greedy_generation_takes_the_likeliest_token_each_time(any_engine: Engine) -> None:
    tokens = any_engine.encode([Span("movie")]).tokens
    wanted: list[int] = []
    for _ in range(5):
        (row,) = any_engine.logits([prompt_of([tokens, *((t,) for t in wanted)])])
        wanted.append(int(row[-1].argmax()))
    if any(any_engine.vocabulary.ends_generation(t) for t in wanted):
        wanted = wanted[: next(i for i, t in enumerate(wanted) if any_engine.vocabulary.ends_generation(t))]
    assert any_engine.generate([prompt_of([tokens])], 5) == [any_engine.vocabulary.decode(wanted)]


def test_generation_stops_at_the_context(engine: Engine) -> None:
    # 510 tokens in a context of 512: three more can be told, the last of them without being read.
    prompts = [prompt_of([(30,) * 510])]
    assert engine.generate(prompts, 50) == engine.generate(prompts, 3) != engine.generate(prompts, 2)


def test_prompts_are_continued_together_as_alone(precise: tuple[Engine, Engine]) -> None:
    engine, exact_engine = precise
    # Ten prompts of other lengths, two alike, one the beginning of another; twenty tokens each exceed the context.
    prompts = [prompt_of([(30, 31, *range(40, 40 + number)), (number + 3, 35)]) for number in range(8)]
    prompts += [prompts[3], Prompt((prompts[5].segments[0],))]
    alone = [exact_engine.generate([prompt], 60)[0] for prompt in prompts]
    assert exact_engine.generate(prompts, 60) == alone == engine.generate(prompts, 60)
    assert engine.generate([], 5) == [] and engine.generate(prompts[:1], 0) == [""]


def test_threads_get_the_bits_that_one_thread_gets(engine: Engine) -> None:
    prompts = [prompt_of([(5, 6), (7 + i,)]) for i in range(6)]
    wanted = [next(engine.logits([prompt])) for prompt in prompts]
    results: dict[int, list[np.ndarray]] = {}

    def work(number: int) -> None:
        results[number] = [next(engine.logits([prompt])) for prompt in prompts]
        list(engine.hidden_means([text_prompt(engine, f"movie {number}")]))

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(4):
        np.testing.assert_array_equal(np.stack(results[number]), np.stack(wanted))


def test_a_closed_engine_refuses_and_closes_twice(spm_model: Path) -> None:
    engine = Engine.from_gguf(spm_model)
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.encode([Span("x")])
    with pytest.raises(EngineError, match="closed"):
        next(engine.logits([prompt_of([(1,)])]))


def test_the_words_of_a_closed_engine_refuse_too(spm_model: Path) -> None:
    engine = Engine.from_gguf(spm_model)
    words = engine.vocabulary
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        words.tokenize("x")
    words = Engine.from_gguf(spm_model).vocabulary  # the engine itself is gone
    with pytest.raises(EngineError, match="closed"):
        words.tokenize("x")


def test_a_prompt_changed_after_reading_is_read_again(engine: Engine) -> None:
    array = np.asarray([30, 31, 32], dtype=np.int32)
    prompt = Prompt((array, np.asarray([33], dtype=np.int32)))
    (first,) = logits(engine, prompt)
    array[1] = 40
    (second,) = logits(engine, prompt)
    engine._decoder.forget()
    (fresh,) = logits(engine, prompt)
    np.testing.assert_array_equal(second, fresh)
    assert np.abs(first - second).max() > 1e-6


def test_an_interruption_during_llama_cpps_log_is_kept(spm_model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rella_cpp.engine.native.logger.log", interrupt)
    with pytest.raises(KeyboardInterrupt):
        Engine.from_gguf(spm_model)


def test_the_context_is_the_models_unless_given(spm_model: Path) -> None:
    with Engine.from_gguf(spm_model) as engine:
        assert engine.n_ctx == Shape().ctx
    with Engine.from_gguf(spm_model, EngineSettings(ctx=256)) as engine:
        assert engine.n_ctx == 256


def test_a_model_that_llama_cpp_refuses_is_named(tmp_path: Path) -> None:
    weights = random_weights(len(bpe_vocab().tokens), Shape(), seed=0)
    del weights["blk.1.ffn_up.weight"]
    path = write_model(tmp_path / "hole.gguf", tokenizer="bpe", weights=weights)
    with pytest.raises(GGUFError, match=r"hole\.gguf.*ffn_up"):
        Engine.from_gguf(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"ctx": 0},
        {"threads": 0},
        {"gpu_layers": -2},
        {"flash_attn": "maybe"},
        {"kv_type": "q5"},
        {"kv_type": "q8_0", "flash_attn": "off"},
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=";"):
        EngineSettings(**wrong)


def test_cores_are_counted() -> None:
    assert usable_cores() >= 1
