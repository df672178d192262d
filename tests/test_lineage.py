"""What models were made from, over several steps, and what may be used with a child as it was with its parent."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lora_files import write_pairs
from tiny_model import Shape, write_adapter, write_model

from rella_cpp import Cache, Calibration, InputError, Item, ItemIndex, Rella, build_index, load_domain
from rella_cpp.engine.identity import descends
from rella_cpp.recommender.tuned_layout import tuned_layout
from rella_cpp.scoring.calibration import made_for
from rella_gguf import merge_adapters, read_header
from rella_gguf.lineage import Origin, origins
from rella_gguf.quantization import quantize

HISTORY = [{"title": "Heat", "year": 1995, "rating": 5}, {"title": "Fargo", "year": 1996, "rating": 2}]
ITEM = {"title": "Alien", "year": 1979}


@pytest.fixture(scope="module")
def family(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """base → q8 → q4; base + a → merged → small; q8 + a → late."""
    folder = tmp_path_factory.mktemp("family")
    write_model(folder / "base.gguf", shape=Shape(embd=64, ff=128, ctx=2048))
    write_adapter(folder / "a.gguf", shape=Shape(embd=64, ff=128))
    quantize(folder / "base.gguf", folder / "q8.gguf", "Q8_0")
    quantize(folder / "q8.gguf", folder / "q4.gguf", "Q4_0")
    merge_adapters(folder / "base.gguf", [(folder / "a.gguf", 0.5)], folder / "merged.gguf")
    quantize(folder / "merged.gguf", folder / "small.gguf", "Q8_0")
    merge_adapters(folder / "q4.gguf", [folder / "a.gguf"], folder / "late.gguf")
    merge_adapters(folder / "small.gguf", [folder / "a.gguf"], folder / "twice.gguf", type="F32")
    return folder


def made_from(path: Path) -> list[tuple[str, tuple[float, ...]]]:
    """The files that one was made from, by name, with the scales of what was merged since."""
    names = {Cache(None).fingerprint(file): file.stem for file in path.parent.glob("*.gguf")}
    return [
        (names[each.fingerprint], tuple(scale for _, scale in each.adapters)) for each in origins(read_header(path))
    ]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("base", []),
        ("q4", [("q8", ()), ("base", ())]),
        ("merged", [("base", (0.5,))]),
        ("small", [("merged", ()), ("base", (0.5,))]),
        ("late", [("q4", (1.0,)), ("q8", (1.0,)), ("base", (1.0,))]),
        ("twice", [("small", (1.0,)), ("merged", (1.0,)), ("base", (0.5, 1.0))]),
    ],
)
def test_a_file_says_what_it_was_made_from(family: Path, name: str, expected: list[tuple[str, Any]]) -> None:
    assert made_from(family / f"{name}.gguf") == expected


def test_a_damaged_list_of_merges_says_nothing(family: Path) -> None:
    header = read_header(family / "merged.gguf")
    for text in ("{", "[1]", '[{"base": {}}]', '{"a": 1}', "[" * 5000):
        header.metadata["rella.merged"] = text
        assert origins(header) == ()


def test_descent_counts_adapters_and_all_else_that_takes_part() -> None:
    def model(fingerprint: str, *adapters: tuple[str, float], **more: object) -> dict[str, object]:
        applied = [{"name": "x", "fingerprint": name, "scale": scale} for name, scale in adapters]
        return {"name": "m", "fingerprint": fingerprint, **({"adapters": applied} if applied else {}), **more}

    child = [Origin("parent"), Origin("base", (("a", 0.5),))]
    assert descends(model("child"), model("parent"), child)
    assert descends(model("child"), model("base", ("a", 0.5)), child)
    assert descends(model("child", ("b", 1.0)), model("base", ("b", 1.0), ("a", 0.5)), child)
    assert descends(model("child", head="h"), model("parent", head="h"), child)
    assert descends(model("child", ("b", 1.0)), model("child", ("b", 1.0)) | {"name": "renamed"}, ())
    for other in (
        model("base"),
        model("base", ("a", 1.0)),
        model("parent", ("a", 0.5)),
        model("parent", head="h"),
        model("stranger"),
        {},
        {"fingerprint": "parent", "adapters": [3]},
    ):
        assert not descends(model("child"), other, child)


@pytest.fixture
def of_base(family: Path) -> Iterator[Calibration]:
    """A calibration that was fitted for the base with its adapter."""
    with Rella.from_gguf(family / "base.gguf", lora=[(family / "a.gguf", 0.5)]) as rella:
        reading = {"k": 30, "retrieval": "subr", "order": "time"}
        yield Calibration({"gap": 2.0}, 0.5, False, made_for(rella.settings(), reading), {"samples": 100})


def test_a_merged_child_takes_the_calibration_of_the_base_with_its_adapter(family: Path, of_base: Calibration) -> None:
    for name in ("merged", "small"):
        with Rella.from_gguf(family / f"{name}.gguf") as rella:
            rella.use_calibration(of_base)
            assert rella.score(HISTORY, ITEM).calibrated is not None
    for name in ("base", "late", "twice"):
        with (
            Rella.from_gguf(family / f"{name}.gguf") as rella,
            pytest.raises(InputError, match="fitted with another judge.model"),
        ):
            rella.use_calibration(of_base)


FILMS = [
    {"id": n, "title": title, "year": 1970 + n, "genres": ["Drama"]}
    for n, title in enumerate(("Heat", "Fargo", "Alien", "Big", "Jaws", "Twins", "Twins"))
]


@pytest.fixture
def index(family: Path, tmp_path: Path) -> ItemIndex:
    with Rella.from_gguf(family / "base.gguf") as rella:
        return build_index(rella.vectors, [Item(film) for film in FILMS], tmp_path / "index")


def test_a_tuned_child_reads_stored_vectors_and_makes_none(
    family: Path, index: ItemIndex, caplog: pytest.LogCaptureFixture
) -> None:
    by_hand = [Item({"title": "heat", "year": 1970}), Item({"title": "Nobody's", "year": 2020})]
    with Rella.from_gguf(family / "merged.gguf") as rella:
        rella.use_index(index)
        found = rella.vectors(by_hand)
        assert np.array_equal(found[0], index.vectors([0])[0]) and not found[1].any()
        assert "not in the index: 1 item (the first: Nobody's (2020))" in caplog.text
        rated = [{"title": "Heat", "year": 1970, "rating": 5}, {"title": "Nobody's", "year": 2020, "rating": 5}]
        assert {each.near for each in rella.recommend(rated, 2, candidates=3)} == {0}
        with pytest.raises(InputError, match="none of what was liked is in the index"):
            rella.recommend(rated[1:], 2, candidates=3)
    with Rella.from_gguf(family / "q4.gguf") as rella:  # of the same weights: it embeds what is missing
        rella.use_index(index)
        assert rella.vectors(by_hand)[1].any()


def test_a_stranger_is_refused_where_vectors_are_missing(index: ItemIndex, spm_model: Path) -> None:
    with Rella.from_gguf(spm_model) as rella:
        rella.use_index(index)
        assert rella.vectors([Item({"title": "Alien", "year": 1972})]).any()
        with pytest.raises(InputError, match="another model made it"):
            rella.vectors([Item({"title": "Nobody's", "year": 2020})])


def test_a_name_that_two_items_have_means_neither(index: ItemIndex) -> None:
    movies = load_domain("movies")
    assert index.row(Item({"title": "Twins", "year": 1975, "genres": ["Comedy"]}), movies) == 5
    assert index.row(Item({"title": "Twins"}), movies) is None


def test_a_model_reads_as_what_was_merged_into_it_was_tuned(tmp_path: Path) -> None:
    record = {"domain": {}, "base": {}, "layout": "stream", "samples": {"k": 7}}
    write_model(tmp_path / "base.gguf", shape=Shape(ctx=2048))
    pair = {"blk.0.attn_q.weight": (np.ones((2, 16), np.float32), np.ones((16, 2), np.float32))}
    write_pairs(tmp_path / "a.gguf", pair, record=json.dumps(record))
    merge_adapters(tmp_path / "base.gguf", [tmp_path / "a.gguf"], tmp_path / "merged.gguf")
    assert tuned_layout(None, [], base=tmp_path / "merged.gguf")[:2] == ("stream", 7)
    assert tuned_layout("question", [], base=tmp_path / "merged.gguf").layout == "question"
    assert tuned_layout(None, [], base=tmp_path / "none.gguf").layout == "question"
    with Rella.from_gguf(tmp_path / "merged.gguf") as rella:
        assert rella.score(HISTORY, ITEM).levels is not None
