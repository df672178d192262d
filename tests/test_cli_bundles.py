"""`rella bundle`, and --bundle in the place of a model's options."""

import json
from pathlib import Path

import pytest
from commands import Run, runner
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import DataSet, ItemIndex

EXAMPLES = Path(__file__).parent.parent / "examples"
HISTORY, ITEM = f"--history {EXAMPLES / 'history.json'}", f"--item {EXAMPLES / 'item.json'}"


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_model(folder / "base.gguf", shape=Shape(ctx=4096))
    write_adapter(folder / "a.gguf")
    return folder


@pytest.fixture
def flags(parts: Path) -> str:
    return f"-m {parts / 'base.gguf'} --lora {parts / 'a.gguf'}=0.5 --layout stream -k 3 --window sliding"


@pytest.fixture
def bundle(rella: Run, flags: str, tmp_path: Path) -> Path:
    (tmp_path / "card.json").write_text('{"licence": "none"}')
    made = rella(*f"bundle make -o {tmp_path / 'b'} {flags} --card {tmp_path / 'card.json'} --json".split())
    assert made.code == 0, made.err
    return tmp_path / "b"


def test_a_bundle_is_its_flags(
    rella: Run, bundle: Path, flags: str, monkeypatch: pytest.MonkeyPatch, small_index: ItemIndex
) -> None:
    for command in (f"score {HISTORY} {ITEM}", f"rank {HISTORY} --items {EXAMPLES / 'items.json'}"):
        (whole, *_) = rella(*f"{command} {flags} --json".split()).lines()
        (bundled, *_) = rella(*f"{command} --bundle {bundle} --json".split()).lines()
        assert bundled["probability"] == whole["probability"] and bundled["used"] == whole["used"]
    monkeypatch.setenv("RELLA_BUNDLE", str(bundle))
    score = f"score {HISTORY} {ITEM} --json"
    assert rella(*score.split()).lines()[0]["used"] == whole["used"]
    # What is given holds before what a bundle says; a model of one's own leaves the bundle of the environment aside.
    assert len(rella(*f"{score} -k 5".split()).lines()[0]["used"]) == 5  # type: ignore[arg-type]
    assert len(rella(*f"{score} {flags} -k 2".split()).lines()[0]["used"]) == 2  # type: ignore[arg-type]


def test_an_evaluation_takes_a_bundle(
    rella: Run, bundle: Path, flags: str, small_data: DataSet, tmp_path: Path
) -> None:
    common = f"evaluate {small_data.folder} --limit 8 --json"
    for name, options in (("flags", flags), ("bundle", f"--bundle {bundle}")):
        assert rella(*f"{common} {options} -o {tmp_path / name}".split()).code == 0
    one, other = ((tmp_path / name / "predictions.jsonl").read_bytes() for name in ("flags", "bundle"))
    assert one == other
    again = f"bundle make -o {tmp_path / 'measured'} {flags} --run {tmp_path / 'flags'} --json"
    (said,) = rella(*again.split()).lines()
    (measured,) = said["card"]["measured"]  # type: ignore[index]
    assert measured["samples"] == 8 and set(measured["metrics"]) == {"model"} and "factors" in measured["baselines"]


def test_info_and_check(rella: Run, bundle: Path) -> None:
    shown = rella("bundle", "info", bundle)
    assert shown.code == 0 and "licence" in shown.out and "layout stream, K 3, recent, sliding" in shown.out
    assert rella("bundle", "check", bundle).code == 0
    assert rella("bundle", "check", bundle, "--json").lines()[0]["whole"] is True
    for name in ("adapter.gguf", "model.gguf"):
        with (bundle / name).open("ab") as file:
            file.write(b"\0")
    checked = rella("bundle", "check", bundle)
    assert checked.code == 2 and len(checked.err.splitlines()) == 2 and "rella: " in checked.err


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("score {history} {item} --bundle {bundle} --lora x.gguf", "--bundle and --lora are both given"),
        ("score {history} {item} --bundle {bundle} -m x.gguf", "--bundle and --model are both given"),
        ("score {history} {item} --bundle {none}", "no such folder"),
        ("bundle make -o {bundle} -m x.gguf", "is there already"),
        ("bundle make -o {out} -m x.gguf --card {none}", "No such file"),
        ("bundle info {history_file}", "is no bundle"),
        ("recommend {history} --bundle {bundle}", "Missing option '--index'"),
    ],
)
def test_what_does_not_fit_is_one_line(rella: Run, bundle: Path, tmp_path: Path, command: str, said: str) -> None:
    names = {"history": HISTORY, "item": ITEM, "bundle": bundle, "none": tmp_path / "none", "out": tmp_path / "out"}
    result = rella(*command.format(**names, history_file=EXAMPLES / "history.json").split())
    assert (result.code, result.out) == (2, "") and said in result.err and len(result.err.splitlines()) == 1
    assert json.loads((bundle / "bundle.json").read_text())["name"] == "b" and not (tmp_path / "out").exists()


@pytest.fixture
def shipped(parts: Path, rella: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tiny model be the packaged one, and a bundle of it the one that comes with the package."""
    for module in ("rella_cpp", "rella_cpp.engine.hub", "rella_cpp.bundles.bundle", "rella_cpp.recommender.bundling"):
        monkeypatch.setattr(f"{module}.packaged_model", lambda: parts / "base.gguf")
    monkeypatch.setattr("rella_cpp.bundles.bundle._SHIPPED", tmp_path / "shipped")
    monkeypatch.delenv("RELLA_MODEL", raising=False)
    (tmp_path / "shipped").mkdir()
    card = {"measured": [{"samples": 9, "drawn": {"split": "test"}, "data": {"name": "d"}, "metrics": {}}]}
    card["measured"][0]["metrics"] = {"model": {"auc": 0.8}}
    card["measured"][0]["baselines"] = {"last_5": {"auc": None}, "bias": {"auc": 0.6}, "logistic": {"auc": 0.7}}
    (tmp_path / "card.json").write_text(json.dumps(card))
    made = rella(
        *f"bundle make -o {tmp_path / 'shipped/movies-135m'} --lora {parts / 'a.gguf'} --layout stream".split(),
        *f"--card {tmp_path / 'card.json'}".split(),
    )
    assert made.code == 0, made.err


@pytest.mark.usefixtures("shipped")
def test_the_shipped_bundle_judges_films_where_nothing_else_is_said(rella: Run, parts: Path) -> None:
    score, rank = f"score {HISTORY} {ITEM}", f"rank {HISTORY} --items {EXAMPLES / 'items.json'}"
    for command in (score, rank, f"{score} -k 3 --retrieval recent"):
        result = rella(*f"{command} --json".split())
        assert [row["model"]["bundle"] for row in result.lines()] == ["movies-135m"] * len(result.lines())  # type: ignore[index]
    shown = rella(*score.split())
    assert "movies-135m: " in shown.out
    assert "movies-135m: AUC 0.800 on 9 test samples of d; baselines: logistic 0.700, bias 0.600\n" in shown.err


@pytest.mark.usefixtures("shipped")
@pytest.mark.parametrize(
    "options",
    ["-m {base}", "--lora {lora}", "--layout question", "--chat-format chatml", "--order reversed", "--domain books"]
    + ["--contrast"],
)
def test_what_says_how_to_judge_leaves_the_shipped_bundle_out(rella: Run, parts: Path, options: str) -> None:
    named = options.format(base=parts / "base.gguf", lora=parts / "a.gguf")
    (row,) = rella(*f"score {HISTORY} {ITEM} --json {named}".split()).lines()
    assert "bundle" not in row["model"]  # type: ignore[operator]


@pytest.mark.usefixtures("shipped")
def test_so_does_a_model_of_the_environment_or_an_index_of_books(
    rella: Run, parts: Path, small_index: ItemIndex, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    history = f"--history {EXAMPLES / 'history.json'}"
    (film, *_) = rella(*f"recommend {history} --index {small_index.folder} --json".split()).lines()
    assert film["model"]["bundle"] == "movies-135m"  # type: ignore[index]
    monkeypatch.setenv("RELLA_MODEL", str(parts / "base.gguf"))
    (row,) = rella(*f"score {HISTORY} {ITEM} --json".split()).lines()
    assert "bundle" not in row["model"]  # type: ignore[operator]
    monkeypatch.delenv("RELLA_MODEL")
    (tmp_path / "items.json").write_text('[{"title": "Dune"}, {"title": "Emma"}]')
    made = rella(*f"index build {tmp_path / 'items.json'} --domain books -o {tmp_path / 'books'}".split())
    assert made.code == 0, made.err
    (book, *_) = rella(*f"recommend {history} --index {tmp_path / 'books'} --json".split()).lines()
    assert "bundle" not in book["model"]  # type: ignore[operator]


def test_what_is_given_holds_even_where_it_is_the_default(rella: Run, parts: Path, tmp_path: Path) -> None:
    made = rella(*f"bundle make -o {tmp_path / 'b'} -m {parts / 'base.gguf'} --order reversed -k 4".split())
    assert made.code == 0, made.err
    score = f"score {HISTORY} {ITEM} --json --bundle {tmp_path / 'b'}"
    (reversed_row,), (row,) = (rella(*f"{score} {options}".split()).lines() for options in ("", "--order time"))
    used: list[int] = row["used"]  # type: ignore[assignment]
    assert len(used) == 4 and used == sorted(used) and reversed_row["used"] == used[::-1]
    refused = rella(*f"score {HISTORY} {ITEM} --bundle= ".split())
    assert refused.code == 2 and "the bundle has no name" in refused.err


def test_a_bundle_for_other_items_is_refused(
    rella: Run, parts: Path, small_data: DataSet, small_index: ItemIndex, tmp_path: Path
) -> None:
    made = rella(*f"bundle make -o {tmp_path / 'books'} -m {parts / 'base.gguf'} --domain books".split())
    assert made.code == 0, made.err
    for command in (
        f"evaluate {small_data.folder} --limit 8 -o {tmp_path / 'run'}",
        f"recommend {HISTORY} --index {small_index.folder}",
        f"score {HISTORY} {ITEM} --domain movies",
    ):
        result = rella(*f"{command} --bundle {tmp_path / 'books'}".split())
        assert result.code == 2 and "was made for other words than those of the domain movies" in result.err


@pytest.mark.parametrize(
    "measured",
    [
        [{"metrics": {"model": {"auc": "x"}}}],
        [{"metrics": {"model": None}}, 3],
        [{"metrics": {"model": {"auc": 0.5}}, "samples": "many", "data": "d", "drawn": []}],
        [{"samples": 3, "metrics": {"model": {"auc": 10**400}}, "data": {"name": "d"}, "drawn": {"split": "s"}}],
        "none",
        [],
    ],
)
def test_a_card_may_hold_anything(rella: Run, parts: Path, tmp_path: Path, measured: object) -> None:
    card = {"measured": measured, "bundle": "forged", "base model": "forged"}
    (tmp_path / "card.json").write_text(json.dumps(card))
    made = rella(*f"bundle make -o {tmp_path / 'b'} -m {parts / 'base.gguf'} --card {tmp_path / 'card.json'}".split())
    assert made.code == 0 and "forged" not in made.out
    assert rella("bundle", "info", tmp_path / "b").code == 0
    assert rella(*f"score {HISTORY} {ITEM} --bundle {tmp_path / 'b'}".split()).code == 0
