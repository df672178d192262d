import json
from pathlib import Path

import numpy as np
import pytest
from commands import Run, runner
from tiny_model import write_adapter

from rella_cpp import Cache, ContextError, EngineSettings, InputError, Rella
from rella_cpp.benchmark.machine import describe, this_machine
from rella_cpp.benchmark.measure import bench
from rella_cpp.benchmark.prompts import MixPrompts
from rella_cpp.benchmark.results import APART, TOGETHER, Bench, Measure, RawRate
from rella_cpp.benchmark.workload import FILMS, USER, Mix, film, unshared

SMALL = Mix(lengths=(40, 90), tokens=100, items=4, behaviors=3, titles=6, texts=3, text_tokens=10, new_tokens=2)
ONE = EngineSettings(threads=1)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory, roomy_model: Path) -> Bench:
    return bench(roomy_model, ONE, mix=SMALL, repeats=2)


def test_what_is_asked_is_what_the_mix_says(found: Bench, roomy_model: Path) -> None:
    with Rella.from_gguf(roomy_model, settings=ONE, cache=Cache(None)) as rella:
        rella.embed(SMALL.catalog)
        embedded = rella.vectors.tokens()  # asked, computed
    with Rella.from_gguf(roomy_model, settings=ONE, cache=Cache(None)) as rella:
        scores = rella.rank(SMALL.history, SMALL.targets, user=USER, k=3, retrieval="recent")
        ranked = sum(score.prompt_tokens for score in scores), rella.engine.decoded_tokens
    assert [measure.name for measure in found.measures] == [
        "score 40",
        "score 90",
        "rank 4",
        "embed 6",
        APART,
        TOGETHER,
    ]
    score, longer, rank, embed, apart, together = found.measures
    # Two prompts of 40 make about 100 tokens, one of 90 does; nothing is shared, so all of it is computed.
    assert (score.prompts, score.asked, score.computed) == (2, 80, 80)
    assert (longer.prompts, longer.asked, longer.computed) == (1, 90, 90)
    # What the same calls count on a model that has read nothing before.
    assert (rank.asked, rank.computed) == ranked and (embed.asked, embed.computed) == embedded
    # One reading of what the four prompts share, and their ends: less than two whole prompts.
    assert max(score.prompt_tokens for score in scores) < rank.computed < 2 * rank.asked / 4
    assert 3 <= apart.new_tokens <= 6 and apart.asked == together.asked == 3 * 10 + apart.new_tokens
    assert apart.computed == apart.asked - 3  # the last token of a text is not read
    assert found.prompt_tokens["score"] == (40, 170 / 3, 90)
    assert found.prompt_tokens["generate"] == (10, 10, 10)


def test_ratios_follow_from_the_fields(found: Bench) -> None:
    raw = {rate.name: rate for rate in found.raw}
    for measure in found.measures:
        assert measure.seconds > 0 and measure.raw == raw[measure.against].rate
        assert measure.ratio == pytest.approx(measure.computed / measure.seconds / measure.raw)
        assert measure.bound == pytest.approx(measure.raw * measure.asked / measure.computed)
    apart, together = found.measure(APART), found.measure(TOGETHER)
    assert found.generation_speedup == pytest.approx(apart.seconds / together.seconds)
    # Of the two raw rates for titles, the faster one counts: it is the harder one to reach.
    assert found.measure("embed 6").raw == max(rate.rate for rate in found.raw if rate.hidden)
    measure = Measure("x", 2, asked=1000, computed=100, new_tokens=0, seconds=2.0, against="y", raw=100.0)
    assert (measure.rate, measure.computed_rate, measure.bound, measure.ratio) == (500, 50, 1000, 0.5)
    assert RawRate("y", 1, 300, False, 2.0).rate == 150


def test_the_raw_rate_reads_the_very_prompts(found: Bench) -> None:
    raw = {rate.name: (rate.prompts, rate.tokens) for rate in found.raw}
    assert raw["prompts of 40"] == (2, 80) and raw["prompts of 90"] == (1, 90)
    assert raw["prompts to go on from"] == (3, 30) and raw["titles, one a call"][0] == 6
    assert raw["titles, calls of 128"][1] == raw["titles, one a call"][1] == found.measure("embed 6").asked
    assert raw["prompts to rank"][0] == 2


def test_the_facts_name_machine_build_model_and_mix(found: Bench, roomy_model: Path) -> None:
    facts = found.as_dict()
    assert set(facts) == set(
        "machine build versions model settings mix repeats raw measures generation_speedup".split()
    )
    assert json.loads(json.dumps(facts)) == facts
    model = found.surroundings["model"]
    assert model["bytes"] == roomy_model.stat().st_size and model["quantisation"] == "F32"
    assert model["file"] == roomy_model.name and len(str(model["fingerprint"])) == 64
    settings = found.surroundings["settings"]
    assert (settings["ctx"], settings["threads"], settings["kv_type"]) == (4096, 1, "f16") and "exact" in settings
    assert str(roomy_model.parent) not in json.dumps(facts)
    lines = describe(found.surroundings)
    assert "Tiny F32" in lines["model"] and this_machine().cpu in lines["machine"] and "threads 1" in lines["settings"]


def test_the_mix_is_always_the_same_and_nothing_in_it_is_twice() -> None:
    assert len({str(film(number)["title"]) for number in range(FILMS)}) == FILMS
    assert film(3) == {"title": "Hidden Soldier in Vienna", "year": 1983, "genres": ["Romance"]}
    mix = Mix()
    seen, targets = ({str(item["title"]) for item in items} for items in (mix.history, mix.targets))
    assert (len(seen), len(targets), len(mix.catalog)) == (30, 100, 1000) and not seen & targets
    assert {behavior["rating"] for behavior in mix.history} == {1, 2, 3, 4, 5}
    quick = Mix.quick()
    assert quick.lengths == mix.lengths and quick.items < mix.items and quick.titles < mix.titles


def test_prompts_share_nothing_while_there_are_enough_tokens() -> None:
    prompts = unshared([5, 5, 6, 5, 7, 8], [3, 3, 2, 7])
    assert [prompt.tolist() for prompt in prompts] == [[5, 5, 6], [7, 8, 5], [6, 5], [8, 5, 5, 6, 5, 7, 8]]
    assert all(prompt.dtype == np.int32 for prompt in prompts)
    assert [int(prompt[0]) for prompt in unshared([5], [1, 1])] == [5, 5]  # no other to be had


def test_what_ranking_asks_is_what_the_raw_rate_reads(roomy_model: Path) -> None:
    with Rella.from_gguf(roomy_model, settings=ONE, cache=Cache(None)) as rella:
        prompts = MixPrompts.of(SMALL, rella, roomy_model)
        scores = rella.rank(SMALL.history, SMALL.targets, user=USER, k=3, retrieval="recent")
    assert [question.text for question in prompts.ranked] == [score.prompt for score in scores]


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        ({"items": 0}, "items is 0"),
        ({"lengths": (230, 7)}, "lengths is 7.*at least 8"),
        ({"lengths": ()}, "lengths is empty"),
        ({"titles": 1601}, "titles ask for 1601.*at most 1600"),
        ({"items": 1600, "behaviors": 1}, "items and behaviors ask for 1601"),
    ],
)
def test_a_mix_that_cannot_be_made_is_refused(numbers: dict[str, int], said: str) -> None:
    with pytest.raises(InputError, match=said):
        Mix(**numbers)  # type: ignore[arg-type]


def test_a_context_too_small_for_the_mix_is_refused_before_anything_is_read(spm_model: Path) -> None:
    with pytest.raises(ContextError, match=r"tiny-spm\.gguf: to rank, the mix .* the context holds 512; raise --ctx"):
        bench(spm_model, ONE)
    with pytest.raises(InputError, match="repeats is 0"):
        bench(spm_model, ONE, repeats=0)


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def small_mix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Mix, "quick", classmethod(lambda _: SMALL))


@pytest.mark.usefixtures("small_mix")
def test_the_command_shows_a_table_and_json(rella: Run, roomy_model: Path) -> None:
    shown = rella("bench", "--model", roomy_model, "--quick", "--repeats", 1, "--threads", 1)
    assert shown.code == 0 and "rank 4" in shown.out and "llama_decode itself" in shown.err
    table = shown.out[shown.out.index("\n\n") :]
    assert max(map(len, table.splitlines())) <= 80 and "generate, together" in table  # it fits a usual terminal
    (row,) = rella("bench", "--model", roomy_model, "--quick", "--repeats", 1, "--threads", 1, "--json").lines()
    assert row["repeats"] == 1 and len(row["measures"]) == 6  # type: ignore[arg-type]
    assert "ratio" in row["measures"][0] and row["mix"]["items"] == 4  # type: ignore[index]


BAD = [
    ("--model {missing}", "missing.gguf: no such file"),
    ("--model {adapter}", "adapter.gguf: is a GGUF of the kind adapter"),
    ("--model {tiny}", "the context holds 512; raise --ctx"),
    ("--model {tiny} --quick", "the context holds 512; raise --ctx"),
    ("--model {tiny} --ctx 513", "the model was trained on 512 tokens"),
    ("--model {tiny} --repeats 0", "repeats is 0"),
    ("--model {tiny} --threads 0", "threads is 0"),
    ("--model {tiny} --flash-attn maybe", "flash-attn is 'maybe'"),
    ("--model {tiny} --kv-type q9", "kv-type is 'q9'"),
    ("--model {tiny} extra", "extra"),
    ("--repeats many", "'--repeats'"),
]


@pytest.mark.parametrize(("arguments", "said"), BAD)
def test_bad_input_gets_one_line_and_exit_2(
    rella: Run, spm_model: Path, tmp_path: Path, arguments: str, said: str
) -> None:
    files = {"missing": tmp_path / "missing.gguf", "tiny": spm_model, "adapter": tmp_path / "adapter.gguf"}
    write_adapter(files["adapter"])
    result = rella("bench", *arguments.format(**files).split())
    assert (result.code, result.out) == (2, "")
    assert said in result.err and len(result.err.splitlines()) == 1 and result.err.startswith("rella: ")
