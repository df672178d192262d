"""A soft prompt at run time: where it stands, what it changes, what is refused."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from peft_folder import write_soft
from tiny_model import Shape, random_weights, spm_vocab, write_model

from rella_cpp import Behavior, Cache, Domain, EngineSettings, InputError, Item, Rella, User, load_domain
from rella_cpp.domains.inputs import take_history
from rella_cpp.domains.wording import Templates
from rella_cpp.engine.segments import Span
from rella_cpp.prompts.choice import write_choice
from rella_cpp.prompts.soft_marker import SOFT
from rella_cpp.prompts.yes_no import write_prompt
from rella_cpp.scoring.answers import log_probability
from rella_gguf import convert_soft_prompt

HISTORY = [{"title": f"movie {word}", "rating": 1 + i % 5} for i, word in enumerate("one two three four five".split())]
TARGETS = [{"title": title} for title in ("Heat", "the movie", "Yes No Yes")]
EXACT = EngineSettings(kv_type="f32", flash_attn="off", exact=True)
ROWS = [40, 41, 42]
"""Tokens whose own embeddings the soft prompt holds: it must then do what they would do."""


def embeddings() -> np.ndarray:
    return random_weights(len(spm_vocab().tokens), Shape(), seed=0)["token_embd.weight"]


def soft_folder(folder: Path, rows: np.ndarray) -> Path:
    tokens, width = rows.shape
    return write_soft(folder, tokens=tokens, width=width, tensors={"prompt_embeddings": rows})


@pytest.fixture(scope="module")
def model(models: Path) -> Path:
    return write_model(
        models / "soft-base.gguf",
        shape=Shape(ctx=1024),
        weights=random_weights(len(spm_vocab().tokens), Shape(), seed=0),
    )


@pytest.fixture
def soft(tmp_path: Path, model: Path) -> Path:
    folder = soft_folder(tmp_path / "prompt", embeddings()[ROWS])
    return Path(convert_soft_prompt(folder, tmp_path / "s.gguf", base=model).out)


@pytest.fixture
def judge(model: Path) -> Iterator[Rella]:
    with Rella.from_gguf(model, settings=EXACT, cache=Cache(None)) as judge:
        yield judge


def marked(domain: Domain, **parts: str) -> Domain:
    return replace(domain, name="marked", templates=Templates(**parts))


def test_it_stands_before_the_first_token_and_does_what_its_tokens_would(judge: Rella, soft: Path) -> None:
    plain = judge.rank(HISTORY, TARGETS)
    judge.use_soft(soft)
    scores = judge.rank(HISTORY, TARGETS)
    assert [score.gap for score in scores] != [score.gap for score in plain]
    assert [score.prompt_tokens for score in scores] == [score.prompt_tokens + len(ROWS) for score in plain]
    behaviors = [behavior for _, behavior in take_history(HISTORY, judge.domain)]
    text = write_prompt(judge.domain, User(), behaviors, Item(TARGETS[0]))
    question = judge.prompts.question(text)
    prompt = question.prompt
    assert prompt.segments[0].dtype == np.float32 and prompt.segments[1][0] == judge.engine.vocabulary.bos
    tokens = replace(prompt, segments=(np.array(ROWS, np.int32), *prompt.segments[1:]))
    (by_tokens,) = judge.engine.logits([tokens])
    assert scores[0].yes_logit == by_tokens[-1][question.answers.tokens[0]]
    assert scores[0].model.soft is not None and scores[0].model.soft.tokens == len(ROWS)


def test_it_stands_where_the_template_says_so(model: Path, soft: Path) -> None:
    # The same words, cut in two by the marker: what is tokenised before and behind it is known.
    domain = marked(load_domain("movies"), target="\nThe movie {{ soft }}{{ item.text }}. {{ domain.question }}")
    with Rella.from_gguf(model, domain=domain, settings=EXACT, soft=soft, cache=Cache(None)) as judge:
        (score,) = judge.rank(HISTORY, TARGETS[:1])
        assert SOFT not in score.prompt
        question = judge.question  # ready prompts have no marker
        with pytest.raises(InputError, match="0 times"):
            question("Good?")
        judge.use_soft(None)
        (without,) = judge.rank(HISTORY, TARGETS[:1])
        assert SOFT not in without.prompt and score.prompt == without.prompt
        assert score.gap != without.gap


def test_a_marker_cuts_text_as_a_control_token_does(judge: Rella) -> None:
    encoded = judge.engine.encode([Span("a movie"), Span("the movie", soft=4), Span("x")])
    vocabulary = judge.engine.vocabulary
    assert encoded.soft is not None
    assert vocabulary.decode(encoded.tokens[1 : encoded.soft]).strip() == "a moviethe"
    assert vocabulary.decode(encoded.tokens[encoded.soft :]).strip() == "moviex"
    assert vocabulary.decode(encoded.tokens[encoded.starts[2] :]) == "x"


@pytest.mark.parametrize(
    ("parts", "finding"),
    [
        ({"profile": "{{ soft }}{{ soft }}"}, "2 times"),
        ({"history": "{% if not history %}{{ soft }}{% endif %}x\n"}, "0 times"),
    ],
)
def test_a_template_that_shows_it_never_or_twice_is_refused(
    model: Path, soft: Path, parts: dict[str, str], finding: str
) -> None:
    domain = marked(load_domain("movies"), **parts)
    with (
        Rella.from_gguf(model, domain=domain, soft=soft, cache=Cache(None)) as judge,
        pytest.raises(InputError, match=finding),
    ):
        judge.rank(HISTORY, TARGETS)


def test_a_title_cannot_move_it(model: Path, judge: Rella, soft: Path) -> None:
    judge.use_soft(soft)
    (score,) = judge.rank(HISTORY, [{"title": f"Heat {SOFT}"}])
    assert SOFT not in score.prompt and "Heat SOFT" in score.prompt
    domain = marked(load_domain("movies"), profile="{{ soft }}")
    with Rella.from_gguf(model, domain=domain, soft=soft, cache=Cache(None)) as other:
        assert "Heat SOFT" in other.rank(HISTORY, [{"title": f"Heat {SOFT}"}])[0].prompt


def test_one_that_belongs_at_a_marker_needs_one(model: Path, judge: Rella, tmp_path: Path) -> None:
    folder = soft_folder(tmp_path / "prompt", embeddings()[ROWS])
    placed = convert_soft_prompt(folder, tmp_path / "placed.gguf", base=model, at="marker").out
    with pytest.raises(InputError, match=r"belongs at a marker.*\{\{ soft \}\}"):
        judge.use_soft(placed)
    assert judge.soft is None
    with Rella.from_gguf(
        model, domain=marked(load_domain("movies"), profile="{{ soft }}"), soft=placed, cache=Cache(None)
    ) as other:
        assert other.soft is not None


def test_one_trained_before_the_first_token_is_said_to_stand_at_a_marker(
    model: Path, soft: Path, caplog: pytest.LogCaptureFixture
) -> None:
    domain = marked(load_domain("movies"), profile="{{ soft }}")
    with Rella.from_gguf(model, domain=domain, soft=soft, cache=Cache(None)):
        assert caplog.text.count("stands at the marker of the domain marked") == 1


def test_it_belongs_to_what_judges(judge: Rella, soft: Path) -> None:
    before = judge.settings()
    judge.use_soft(soft)
    model = judge.settings()["model"]
    assert isinstance(model, dict) and model.pop("soft")["name"] == "s.gguf"
    assert model == before["model"]


def test_it_takes_room_in_the_context(model: Path, tmp_path: Path) -> None:
    # 200 positions of a context of 500: fewer behaviors fit than without.
    rows = np.tile(embeddings()[ROWS], (70, 1))[:200]
    soft = soft_folder(tmp_path / "long", rows)
    with Rella.from_gguf(model, settings=replace(EXACT, ctx=500), cache=Cache(None)) as judge:
        plain = judge.score(HISTORY, TARGETS[0])
        judge.use_soft(soft)
        score = judge.score(HISTORY, TARGETS[0])
    assert score.dropped > plain.dropped and plain.prompt_tokens <= 500
    assert 400 < score.prompt_tokens <= 500


@pytest.mark.parametrize("exact", [False, True])
def test_with_an_adapter_and_in_company(model: Path, soft: Path, adapter: Path, exact: bool) -> None:
    settings = replace(EXACT, exact=exact)
    with Rella.from_gguf(model, settings=settings, lora=adapter, soft=soft, cache=Cache(None)) as judge:
        together = [score.gap for score in judge.rank(HISTORY, TARGETS, k=3, retrieval="recent")]
        alone = [judge.score(HISTORY, item, k=3, retrieval="recent").gap for item in TARGETS]
        judge.use_soft(None)
        without = [judge.score(HISTORY, item, k=3, retrieval="recent").gap for item in TARGETS]
        judge.use_soft(soft)
        judge.adapters = ()
        bare = [judge.score(HISTORY, item, k=3, retrieval="recent").gap for item in TARGETS]
    np.testing.assert_allclose(together, alone, atol=0 if exact else 1e-4)
    assert np.abs(np.subtract(together, without)).min() > 1e-4 < np.abs(np.subtract(together, bare)).min()


@pytest.mark.parametrize("exact", [False, True])
def test_a_prefix_with_it_is_kept_for_the_next_candidates(model: Path, soft: Path, exact: bool) -> None:
    with Rella.from_gguf(model, settings=replace(EXACT, exact=exact), soft=soft, cache=Cache(None)) as judge:
        judge.rank(HISTORY, TARGETS[:1], retrieval="recent")
        before = judge.engine.prompt_tokens, judge.engine.decoded_tokens
        judge.rank(HISTORY, TARGETS[1:2], retrieval="recent")
        asked, decoded = judge.engine.prompt_tokens - before[0], judge.engine.decoded_tokens - before[1]
    assert decoded < asked / 2  # block and history, most of the prompt, were in memory


def test_two_users_over_one_engine_keep_their_own(judge: Rella, soft: Path) -> None:
    other = Rella(judge.engine, judge.domain, cache=Cache(None))
    other.use_soft(soft)
    wanted = other.score(HISTORY, TARGETS[0]).gap
    plain = judge.score(HISTORY, TARGETS[0]).gap
    assert other.score(HISTORY, TARGETS[0]).gap == wanted != plain


def test_a_foreign_one_is_refused_and_what_was_there_stays(
    judge: Rella, soft: Path, tmp_path: Path, models: Path
) -> None:
    judge.use_soft(soft)
    there = judge.soft
    wide = soft_folder(tmp_path / "wide", np.ones((2, 24), np.float32))
    with pytest.raises(InputError, match="24.*16"):
        judge.use_soft(wide, allow_mismatch=True)
    stranger = write_model(models / "stranger.gguf", weights=random_weights(len(spm_vocab().tokens), Shape(), seed=9))
    folder = soft_folder(tmp_path / "other", embeddings()[ROWS])
    foreign = convert_soft_prompt(folder, tmp_path / "foreign.gguf", base=stranger).out
    with pytest.raises(InputError, match="was tuned on the model.*--allow-mismatch"):
        judge.use_soft(foreign)
    assert judge.soft is there
    judge.use_soft(foreign, allow_mismatch=True)
    assert judge.soft is not there


def test_what_its_trainer_wrote_of_the_base_counts(judge: Rella, model: Path, tmp_path: Path) -> None:
    # A folder is converted for the model in use, and `--base` may name another: neither hides what it was trained on.
    folder, fingerprint = soft_folder(tmp_path / "prompt", embeddings()[ROWS]), judge.model.fingerprint
    words = {"name": "movies", "fingerprint": judge.domain.fingerprint}
    for number, (base, fits) in enumerate(((fingerprint, True), ("a" * 64, False), (None, True))):
        record = {"domain": words, "base": {"name": "trained", "fingerprint": base}}
        (folder / "rella.json").write_text(json.dumps(record))
        converted = convert_soft_prompt(folder, tmp_path / f"{number}.gguf", base=model).out
        for given in (folder, folder, converted):  # the second time the folder comes from the cache
            if fits:
                judge.use_soft(given)
                continue
            with pytest.raises(InputError, match=r"was tuned on the model trained \(aaaaaaaaaaaa\).*--allow-mismatch"):
                judge.use_soft(given)
            judge.use_soft(given, allow_mismatch=True)


def test_one_longer_than_the_context_is_refused(judge: Rella, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="takes 1,024 positions, and the context has 1,024; raise --ctx"):
        judge.use_soft(soft_folder(tmp_path / "long", np.ones((1024, 16), np.float32)))


def test_no_soft_prompt_at_all(judge: Rella, adapter: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        judge.use_soft(tmp_path / "nothing.gguf")
    with pytest.raises(InputError, match="adapter"):
        judge.use_soft(adapter)


@pytest.mark.parametrize("exact", [False, True])
def test_candidates_share_it(model: Path, soft: Path, exact: bool) -> None:
    # The soft prompt holds three tokens' rows: with those tokens in its place each sum is the same.
    with Rella.from_gguf(model, settings=replace(EXACT, ctx=None, exact=exact), cache=Cache(None)) as judge:
        plain = judge.choose(HISTORY, TARGETS, k=2)
        judge.use_soft(soft)
        found = judge.choose(HISTORY, TARGETS, k=2)
        text = write_choice(
            judge.domain, User(), [Behavior(Item(each)) for each in HISTORY[-2:]], list(map(Item, TARGETS))
        )
        question = judge.prompts.choice(text, [str(each["title"]) for each in TARGETS])
        for likelihood, prompt, answer in zip(found, question.prompts, question.answers, strict=True):
            assert prompt.segments[0].dtype == np.float32
            tokens = replace(prompt, segments=(np.array(ROWS, np.int32), *prompt.segments[1:]))
            (logits,) = judge.engine.logits([tokens])
            assert likelihood.log_probability == pytest.approx(
                log_probability(logits, answer), abs=1e-9 if exact else 1e-4
            )
    assert [each.prompt_tokens for each in found] == [each.prompt_tokens + len(ROWS) for each in plain]
    assert min(abs(a.log_probability - b.log_probability) for a, b in zip(found, plain, strict=True)) > 1e-3


def test_candidates_share_it_at_a_marker(model: Path, soft: Path) -> None:
    domain = marked(load_domain("movies"), choice="{% for c in candidates %}{{ c }}; {% endfor %}{{ soft }}Which?")
    with Rella.from_gguf(model, domain=domain, settings=EXACT, soft=soft, cache=Cache(None)) as judge:
        found = judge.choose(HISTORY, TARGETS, k=2)
        assert SOFT not in found[0].prompt
        place, rows = judge.prompts.choice(write_choice(domain, User(), [], [Item(TARGETS[0])]), ["Heat"]).soft or (
            0,
            None,
        )
        assert place > 0 and rows is not None
