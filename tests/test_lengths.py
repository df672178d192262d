import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import Run, runner

from rella_cpp import (
    Cache,
    ContextError,
    DataSet,
    EngineSettings,
    EvaluationSettings,
    Histories,
    InputError,
    Item,
    Query,
    Rella,
    Selection,
    add_to_index,
    build_index,
    evaluate,
    load_domain,
)
from rella_cpp.prompts.lengths import located_in, longest_field

MOVIES = load_domain("movies")
LONG = "Long Title " * 90
SHORT = [{"title": f"Film {i}", "rating": 3} for i in range(6)]
ITEM = {"title": "Aliens"}
TOLD = r"the title has [\d,]+ tokens \('Long Title Long .*…'\): "
TEXT, PROMPT = r"a text has \d+ tokens, the context", r"a prompt of \d+ tokens with no history does not fit the context"


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


@pytest.fixture
def narrow(roomy_model: Path) -> Iterator[Rella]:
    """A model with a context in which all fits but a long title."""
    with Rella.from_gguf(roomy_model, cache=Cache(None), settings=EngineSettings(ctx=700)) as narrow:
        yield narrow


def write(folder: Path, value: object, name: str) -> Path:
    (folder / name).write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return folder / name


def test_the_field_that_takes_most_of_a_prompt_is_named(narrow: Rella) -> None:
    encode = narrow.engine.encode
    item = Item({"title": "Heat", "genres": ["x " * 300], "overview": "y " * 2000})
    tokens = len(encode([]).tokens) + 400
    assert longest_field(MOVIES, item, tokens, encode).startswith("the genres has ")
    assert longest_field(MOVIES, Item(ITEM), 400, encode) == ""


def test_an_error_about_a_record_gets_the_files_own_place() -> None:
    error = ContextError("is long", place="item[1]", remedy="shorten it")
    assert str(located_in(error, "item", [None, "line 3"], "i.jsonl")) == "i.jsonl, line 3: is long; shorten it"
    assert located_in(error, "history", ["a"], "h.json") is error
    other = InputError("is bad", source="x", place="item[0]")
    assert located_in(other, "item", ["a"], "i.json") is other


def test_a_target_that_is_too_long_is_placed_and_its_title_counted(narrow: Rella) -> None:
    with pytest.raises(ContextError, match=rf"^item\[1\]: {TOLD}{PROMPT} of 700; shorten it, or raise --ctx$"):
        narrow.rank(SHORT, [ITEM, {"title": LONG}])
    with pytest.raises(ContextError, match=rf"^item\[1\]: {TOLD}{PROMPT}"):
        narrow.choose(SHORT, [ITEM, {"title": LONG}])
    with pytest.raises(ContextError, match=rf"^item\[0\]: {TOLD}{TEXT}"):
        narrow.embed([{"title": LONG}, ITEM])


def test_many_titles_that_are_too_long_together_are_nobodys_fault(narrow: Rella) -> None:
    with pytest.raises(ContextError, match=rf"^{PROMPT} of 700; raise --ctx, or give fewer candidates"):
        narrow.choose(SHORT, [{"title": f"Film {i}"} for i in range(300)])


def test_a_behavior_that_is_too_long_to_be_compared_is_placed_in_the_input(narrow: Rella) -> None:
    history = [{"title": LONG, "timestamp": 9}, *({**film, "timestamp": 1} for film in SHORT)]
    with pytest.raises(ContextError, match=rf"^history\[0\]: {TOLD}{TEXT}"):
        narrow.score(history, ITEM, k=3)
    assert narrow.score(history, ITEM, k=3, retrieval="recent").dropped  # no vectors, no trouble: it is left out


def test_an_index_says_which_item_is_too_long(narrow: Rella, tmp_path: Path) -> None:
    catalog = [Item({"title": film["title"], "id": i}) for i, film in enumerate(SHORT)]
    with pytest.raises(ContextError, match=rf"^item\[6\]: {TOLD}{TEXT}"):
        build_index(narrow.vectors, [*catalog, Item({"title": LONG})], tmp_path / "bad")
    index = build_index(narrow.vectors, catalog, tmp_path / "index")
    with pytest.raises(ContextError, match=rf"^item\[2\]: {TOLD}{TEXT}"):
        add_to_index(index, narrow.vectors, [catalog[0], Item({"title": "New"}), Item({"title": LONG})])
    narrow.use_index(index)
    with pytest.raises(ContextError, match=rf"^history\[1\]: {TOLD}{TEXT}"):
        narrow.recommend([{"title": "Heat"}, {"title": LONG}], 1)
    with pytest.raises(ContextError, match=rf"^history\[6\]: {TOLD}{TEXT}"):
        narrow.score([*SHORT, {"title": LONG}], ITEM, k=3)


def test_a_candidate_that_is_too_long_is_named_with_its_index(roomy_model: Path, tmp_path: Path) -> None:
    with Rella.from_gguf(roomy_model, cache=Cache(None)) as wide:
        build_index(wide.vectors, [Item({"title": LONG, "id": "tt7"}), Item(ITEM)], tmp_path / "index")
    with Rella.from_gguf(roomy_model, cache=Cache(None), settings=EngineSettings(ctx=700)) as narrow:
        narrow.use_index(tmp_path / "index")
        for call in (narrow.recommend, narrow.recommend_next):
            with pytest.raises(ContextError, match=rf"index, the item 'tt7': {TOLD}{PROMPT}"):
                call(SHORT, 2)


def test_an_evaluation_names_data_set_and_sample(roomy_model: Path, small_data: DataSet, tmp_path: Path) -> None:
    class Longer(DataSet):
        def item(self, row: int) -> Item:
            return Item({**super().item(row).fields, "title": LONG})

    data = Longer.open(small_data.folder)
    settings = EvaluationSettings(limit=1, ks=(2,), retrieval="recent")
    with (
        Rella.from_gguf(roomy_model, cache=Cache(None), settings=EngineSettings(ctx=700)) as narrow,
        pytest.raises(ContextError, match=rf"small, sample \d+, item\[0\]: {TOLD}{PROMPT}"),
    ):
        evaluate(Histories(data, None, MOVIES), tmp_path / "run", settings, judge=narrow)


def test_several_queries_name_the_item(narrow: Rella) -> None:
    queries = [Query(SHORT, [ITEM], None, Selection(2)), Query(SHORT, [{"title": LONG}], None, Selection(2))]
    with pytest.raises(ContextError, match=rf"^item\[0\]: {TOLD}{PROMPT}"):
        narrow.judge(queries)


COMMANDS = [
    ("score --history {short} --item {one}", r"one.json: " + TOLD + PROMPT),
    ("score --history {short} --item {list}", r"list.json, item\[1\]: " + TOLD + PROMPT),
    ("rank --history {short} --items {lines}", r"lines.jsonl, line 3: " + TOLD + PROMPT),
    ("rank --by likelihood --history {short} --items {lines}", r"lines.jsonl, line 3: " + TOLD + PROMPT),
    ("rank --history {past} --items {short} -k 3", r"past.json, history\[6\]: " + TOLD + TEXT),
    ("score --history {short} --item {one} --context summary", r"one.json: " + TOLD + PROMPT),
    (
        "score --history {short} --item {good} --context summary --summary-tokens 690",
        r"short.json, history 0: a prompt of \d+ tokens and 690 of a summary do not fit the context of 700; lower",
    ),
    (
        "summarize --history {short} --summary-tokens 690",
        r"short.json, history 0: a prompt of \d+ tokens and 690 of a summary do not fit the context of 700; lower",
    ),
    ("index build {list} -o {out}", r"list.json, item\[1\]: " + TOLD + TEXT),
    ("index build {lines} -o {out}", r"lines.jsonl, line 3: " + TOLD + TEXT),
]


@pytest.mark.parametrize(("command", "said"), COMMANDS)
def test_commands_name_the_file_and_the_place(
    rella: Run, roomy_model: Path, tmp_path: Path, command: str, said: str
) -> None:
    files = {
        "short": write(tmp_path, SHORT, "short.json"),
        "past": write(tmp_path, [*SHORT, {"title": LONG}], "past.json"),
        "good": write(tmp_path, ITEM, "good.json"),
        "one": write(tmp_path, {"title": LONG}, "one.json"),
        "list": write(tmp_path, [ITEM, {"title": LONG}], "list.json"),
        "lines": write(tmp_path, f"{json.dumps(ITEM)}\n\n{json.dumps({'title': LONG})}\n", "lines.jsonl"),
        "out": tmp_path / "out",
    }
    result = rella(*command.format(**files).split(), "--model", roomy_model, "--ctx", 700)
    last = result.err.splitlines()[-1]
    assert (result.code, result.out) == (2, "") and re.match(rf"rella: {tmp_path}/{said}", last), last
