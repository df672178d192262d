"""The example that trains LoRA, on a tiny model: what it reads, what it computes, and going on after a kill."""

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from test_reference import F32
from tiny_model import Shape, write_model

from rella_cpp import Engine
from rella_cpp.engine.segments import Prompt, Span
from rella_gguf import convert_adapter

pytestmark = [pytest.mark.reference, pytest.mark.filterwarnings("ignore")]  # the warnings of torch and transformers

ROOT = Path(__file__).parent.parent
TITLES = ("Heat (1995)", "Amélie (2001)", "Yes No the", "the movie (7)", "M 5: 4")
WEIGHTS = "adapter_model.safetensors"


@pytest.fixture(scope="module")
def example() -> Any:
    pytest.importorskip("peft")
    pytest.importorskip("torch").set_num_threads(1)  # a tiny model's threads wait for each other
    return importlib.import_module("rella_train.lora")


@pytest.fixture(scope="module", params=["spm", "bpe"])
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("base")
    return write_model(folder / "m.gguf", shape=Shape(ctx=4096, layers=3), tokenizer=request.param)


def stream_row(random: np.random.Generator, lines: int, judged: int) -> dict[str, Any]:
    """Make a row in which a title's rating hangs on the title; the last `judged` lines have answers."""
    text, answers = "A person rated these.\n", []
    for line in range(lines):
        title = int(random.integers(len(TITLES)))
        level = min(4, title + 2 * int(random.random() < 0.8))
        text += f"{TITLES[title]}, 4.1: "
        if line >= lines - judged:
            answers.append({"start": len(text), "end": len(text) + 1, "level": level, "label": int(level > 2)})
        text += f"{level + 1}\n"
    return {"text": text, "answers": answers, "user": "7", "first": 0}


def question_row(random: np.random.Generator) -> dict[str, Any]:
    title = int(random.integers(len(TITLES)))
    prompt, label = f"Will they like {TITLES[title]}? ", int(title > 2)
    return {"text": prompt + ("Yes" if label else "No"), "prompt": prompt, "label": label}


def write_rows(folder: Path, rows: list[dict[str, Any]], valid: list[dict[str, Any]], **facts: Any) -> Path:
    for name, part in (("x.jsonl", rows), ("x.valid.jsonl", valid)):
        (folder / name).write_text("".join(json.dumps(row) + "\n" for row in part))
    manifest = {"form": "text", "domain": {"name": "movies", "fingerprint": "0" * 64}, "chat_format": None}
    levels = [{"label": str(level + 1), "liked": level > 2, "value": level + 1.0} for level in range(5)]
    stream = {"layout": "stream", "levels": levels, "answers": None}
    (folder / "x.manifest.json").write_text(json.dumps({**manifest, **stream, "files": {}, **facts}))
    return folder / "x.jsonl"


@pytest.fixture
def stream(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows = [stream_row(random, 2 + number % 9, 2 + number % 9) for number in range(60)]
    return write_rows(tmp_path, rows, [stream_row(random, 4 + number % 3, 3) for number in range(12)])


def run(example: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["rella_train.lora", *map(str, arguments), "--dtype", "float32"])
    example.main()


def reader(example: Any, base: Path, rows: Path) -> tuple[Any, Any]:
    model, tokenizer = importlib.import_module("rella_train.model").load_base(base, "float32")
    return model.eval(), example.RowReader(rows, example.read_manifest(rows), tokenizer)


def test_a_row_has_the_tokens_of_llama_cpp_and_its_answers_are_the_labels(
    example: Any, base: Path, stream: Path
) -> None:
    _, found = reader(example, base, stream)
    rows = [json.loads(line) for line in stream.read_text().splitlines()]
    with Engine.from_gguf(base) as engine:
        for row, sequence in zip(rows, found, strict=True):
            tokens = list(engine.encode([Span(row["text"])]).tokens)
            assert list(sequence.tokens) == tokens[: len(sequence.tokens)]
            for place, answer in zip(sequence.places, row["answers"], strict=True):
                behind = [engine.vocabulary.decode(tokens[at:]) for at in (place, place + 1)]
                assert [part.lstrip() for part in behind] == [
                    row["text"][answer[edge] :].lstrip() for edge in ("start", "end")
                ]
    assert found.answers.liked == [False, False, False, True, True] and len(set(found.answers.tokens)) == 5


def test_a_gguf_is_loaded_as_llama_cpp_reads_it(example: Any, base: Path, stream: Path) -> None:
    torch = pytest.importorskip("torch")
    model, found = reader(example, base, stream)
    assert type(model.model.layers[0].self_attn.q_proj) is torch.nn.Linear  # weights that are not packed
    with Engine.from_gguf(base, F32) as engine:
        for row in list(found)[:3]:
            tokens = np.asarray(row.tokens, dtype=np.int32)
            (expected,) = engine.logits([Prompt((tokens,), outputs=len(tokens))])
            with torch.no_grad():
                logits = model(input_ids=torch.tensor([list(row.tokens)])).logits[0].numpy()
            assert np.abs(logits - expected).max() < 1e-4


def test_one_pass_gives_every_answer_the_logits_that_it_has_alone(example: Any, base: Path, stream: Path) -> None:
    """Alone, a prompt is padded by nothing and all its logits are computed by transformers itself."""
    torch = pytest.importorskip("torch")
    model, found = reader(example, base, stream)
    rows = list(found)[:9]
    assert max(len(row.tokens) for row in rows) > 64 + min(len(row.tokens) for row in rows)
    with torch.no_grad():
        batch = importlib.import_module("rella_train.rows").side_by_side(rows, found.answers)
        together = example.Learner(model, found.answers).logits(batch)
        some = example.Learner(model, found.answers).answer_logits(batch)
        alone = [
            model(input_ids=torch.tensor([list(row.tokens[:place])])).logits[0, -1]
            for row in rows
            for place in row.places
        ]
    assert (together - torch.stack(alone)).abs().max() < 1e-4
    assert (together[:, found.answers.tokens] - some).abs().max() < 1e-5
    answers = [answer for row in rows for answer in row.answers]
    assert batch.answers.tolist() == answers and batch.tokens == sum(len(row.tokens) for row in rows)


def test_logits_of_a_bfloat16_base_are_not_rounded(example: Any, base: Path, stream: Path) -> None:
    torch = pytest.importorskip("torch")
    model, tokenizer = importlib.import_module("rella_train.model").load_base(base, "bfloat16")
    found = example.RowReader(stream, example.read_manifest(stream), tokenizer)
    batch = importlib.import_module("rella_train.rows").side_by_side(list(found)[:9], found.answers)
    with torch.no_grad():
        logits = example.Learner(model, found.answers).logits(batch)
    assert logits.dtype == torch.float32
    assert (logits != logits.bfloat16().float()).float().mean() > 0.9


def test_the_figures_of_a_check_are_those_of_the_softmax_over_the_levels(
    example: Any, base: Path, stream: Path
) -> None:
    torch, metrics = pytest.importorskip("torch"), pytest.importorskip("sklearn.metrics")
    model, found = reader(example, base, stream)
    rows, labels, chances = list(found)[:20], [], []
    for row in rows:
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([list(row.tokens)])).logits[0].double()
        for place, answer in zip(row.places, row.answers, strict=True):
            each = np.exp(logits[place - 1, found.answers.tokens].numpy())
            chances.append(each[3:].sum() / each.sum())
            labels.append(answer > 2)
    batches = importlib.import_module("rella_train.rows").sorted_batches(rows, 3, found.answers)
    auc, loss = example.validate(example.Learner(model, found.answers), batches)
    assert auc == pytest.approx(metrics.roc_auc_score(labels, chances), abs=2e-3)
    assert loss == pytest.approx(metrics.log_loss(labels, chances), abs=1e-5)


def test_a_stream_is_learnt_and_what_is_saved_converts(
    example: Any,
    base: Path,
    stream: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run(example, monkeypatch, stream, "--base", base, "-o", tmp_path / "out", "--epochs", 6, "--batch", 4, "--lr", 0.02)
    said = capsys.readouterr().out
    losses = [float(line.split("LogLoss ")[1].split(" ")[0]) for line in said.splitlines() if "AUC" in line]
    assert said.startswith("checking 36 answers in ") and "\nuntuned, 36 answers: " in said and len(losses) > 3
    assert min(losses) < 0.95 * losses[0]  # how often they like anything is soon learnt
    record = json.loads((tmp_path / "out/rella.json").read_text())
    assert record["layout"] == "stream" and record["base"]["name"] == "m.gguf"
    done = convert_adapter(tmp_path / "out", tmp_path / "a.gguf", base=base)
    assert done.pairs == 21  # seven matrices in each of three layers
    assert (tmp_path / "out/last" / WEIGHTS).is_file()


def killed_at_every_checkpoint(example: Any, monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    """Run to the end, killed after each checkpoint; return how often that was."""
    progress = importlib.import_module("rella_train.progress").Progress
    saved, killed = progress.save, 0

    def save(progress: Any) -> None:
        saved(progress)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(progress, "save", save)
        while killed < 50:
            try:
                run(example, patch, *arguments)
            except KeyboardInterrupt:
                killed += 1
            else:
                return killed
    raise AssertionError("no end")


@pytest.mark.parametrize(
    "length", [("--tokens", 9000), ("--minutes", 0.002), ("--epochs", 3)], ids=lambda pair: pair[0]
)
def test_a_killed_training_comes_to_the_same_bytes(
    example: Any, base: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, length: tuple[str, object]
) -> None:
    common = (stream, "--base", base, *length, "--batch", 4, "--check", 1500, "--dropout", 0.1)
    out = tmp_path / "out"
    run(example, monkeypatch, *common, "-o", out)
    whole = {name: (out / name).read_bytes() for name in (WEIGHTS, f"last/{WEIGHTS}")}
    course = importlib.import_module("torch").load(out / "training.pt", weights_only=True)["facts"]
    (out / "training.pt").unlink()
    if length[0] == "--minutes":  # another run would measure another speed: what was measured first is what is kept
        monkeypatch.setattr(example, "tokens_a_second", lambda *_: course["tokens"] / (60 * float(str(length[1]))))
    assert (
        killed_at_every_checkpoint(example, monkeypatch, *common, "-o", out) > 1
    )  # a slow machine measures few tokens
    assert whole == {name: (out / name).read_bytes() for name in whole}
    with pytest.raises(SystemExit, match="other settings"):
        run(example, monkeypatch, *common, "-o", out, "--lr", 0.5)


def test_yes_and_no_are_learnt_by_the_same_command(
    example: Any,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    random = np.random.default_rng(0)
    rows, valid = ([question_row(random) for _ in range(count)] for count in (64, 24))
    path = write_rows(tmp_path, rows, valid, layout="question", answers=["Yes", "No"], levels=None)
    common = (path, "--base", base, "--epochs", 8, "--targets", "all-linear", "--lr", 0.05)
    run(example, monkeypatch, *common, "-o", tmp_path / "out")
    said = capsys.readouterr().out
    assert "best validation AUC 1.0000" in said or "best validation AUC 0.9" in said
    tokens = [len(row.tokens) for row in reader(example, base, path)[1]]
    assert f"of {8 * sum(tokens):,} tokens" in said


def test_no_gradient_goes_below_the_lowest_adapted_layer(
    example: Any, base: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(example, monkeypatch, stream, "--base", base, "-o", tmp_path / "out", "--tokens", 500, "--layers", 2)
    names = load_file(tmp_path / "out" / WEIGHTS)
    assert len(names) == 14 and all(".layers.2." in name for name in names)
    model, found = reader(example, base, stream)
    given = type("Given", (), {"layers": 2, "rank": 2, "alpha": 2, "dropout": 0.0, "targets": ["all-linear"]})
    tuned = importlib.import_module("rella_train.model").with_lora(model, given, "m")
    went: dict[int, bool] = {}
    for number, layer in enumerate(tuned.get_base_model().model.layers):
        layer.register_forward_hook(lambda _, __, out, number=number: went.update({number: out.requires_grad}))
    batch = importlib.import_module("rella_train.rows").side_by_side(list(found)[:2], found.answers)
    example.Learner(tuned, found.answers).add_gradients(batch)
    assert went == {0: False, 1: False, 2: True}


def test_fewer_tokens_of_a_stream_are_the_first_of_more(example: Any, base: Path, stream: Path) -> None:
    """Only sequences of a pool change places: the first pools hold the first rows of the file."""
    _, found = reader(example, base, stream)
    rows = [list(row.tokens) for row in found]
    batches = example.Order(found, 2, 0).batches()
    seen = [row for _ in range(16) for row in next(batches).ids.tolist()]
    padded = [np.trim_zeros(row, "b") for row in seen]  # 0 is <unk>, which no row holds
    assert sorted(rows[:32]) == sorted(padded)
    assert rows[:32] != padded


@pytest.mark.parametrize(
    ("facts", "more", "said"),
    [
        ({"form": "messages"}, (), "rows of the form 'messages'; export them with --format text"),
        ({"levels": None}, (), "rella_train.soft_prompt reads them"),
        ({}, ("--layers", 3), "--layers is 3; the base has 3 layers: give 0 to 2"),
        ({}, ("--tokens", 0), "--tokens is 0; give more than 0"),
        (
            {"levels": [{"label": label, "liked": True, "value": 1} for label in ("1", "10", "11", "12", "13")]},
            (),
            "no tokens of their own",
        ),
        ({"levels": [{"label": label, "liked": label > "3", "value": 1} for label in "54321"]}, (), "stands no '"),
    ],
)
def test_what_cannot_be_trained_is_refused(
    example: Any,
    base: Path,
    stream: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    facts: dict[str, Any],
    more: tuple[object, ...],
    said: str,
) -> None:
    path = stream.with_name("x.manifest.json")
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))
    with pytest.raises(SystemExit, match=said):
        run(example, monkeypatch, stream, "--base", base, "-o", tmp_path / "out", *more)
    assert not (tmp_path / "out").exists()


def test_a_broken_row_is_named(
    example: Any, base: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = stream.read_text()
    for broken, number in (('{"text": "A', 61), ('{"prompt": "A", "completion": "B"}', 61), ("", 0)):
        stream.write_text(whole + broken + "\n" if number else "")
        said = rf"x\.jsonl, row {number}: .* is no row with answers and text" if number else "holds no rows"
        with pytest.raises(SystemExit, match=said):
            run(example, monkeypatch, stream, "--base", base, "-o", tmp_path / "out", "--epochs", 2)


def test_validation_rows_of_one_answer_are_refused(
    example: Any, base: Path, stream: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = stream.with_name("x.valid.jsonl")
    path.write_text(json.dumps(stream_row(np.random.default_rng(0), 4, 1)) + "\n")
    with pytest.raises(SystemExit, match=r"x\.valid\.jsonl: its answers are all liked, or none is"):
        run(example, monkeypatch, stream, "--base", base, "-o", tmp_path / "out")
    path.unlink()
    with pytest.raises(SystemExit, match=r"x\.valid\.jsonl: no such file"):
        run(example, monkeypatch, stream, "--base", base, "-o", tmp_path / "out")


@pytest.mark.parametrize("targets", [["all-linear"], ["q_proj", "down_proj"], ["o_proj"]])
@pytest.mark.parametrize("layers", [0, 2])
def test_the_passes_by_hand_give_the_gradients_of_autograd(
    example: Any, base: Path, stream: Path, targets: list[str], layers: int
) -> None:
    """By transformers and PEFT on the same batch in float32, with adapters that are not zero."""
    torch = pytest.importorskip("torch")
    from types import SimpleNamespace

    llama, plain = importlib.import_module("rella_train.llama"), importlib.import_module("rella_train.model")
    model, found = reader(example, base, stream)
    given = SimpleNamespace(rank=3, alpha=6, dropout=0.0, targets=targets, layers=layers)
    model = plain.with_lora(model, given, "m.gguf")
    weights = {name: each for name, each in model.named_parameters() if each.requires_grad}
    torch.manual_seed(1)
    for each in weights.values():
        torch.nn.init.normal_(each, std=0.2)
    rows = [row for row in found if row.places][:5]
    batch = importlib.import_module("rella_train.rows").side_by_side(rows, found.answers)
    slow = plain.Learner(model, found.answers)
    loss, logits = slow.add_gradients(batch), slow.answer_logits(batch)
    wanted = {name: each.grad.clone() for name, each in weights.items()}
    model.zero_grad()
    assert llama.learns(model, 0.0) and not llama.learns(model, 0.1)
    quick = llama.LlamaLearner(model, found.answers)
    assert quick.add_gradients(batch) == pytest.approx(loss, abs=1e-5)
    assert torch.allclose(quick.answer_logits(batch), logits, atol=1e-4)
    for name, each in weights.items():
        assert torch.allclose(each.grad, wanted[name], atol=1e-5), name
