import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_model import Shape, write_model

from rella_cpp import (
    Cache,
    DataSet,
    IndexSettings,
    InputError,
    Item,
    ItemIndex,
    Rella,
    add_to_index,
    build_index,
    load_domain,
    search_text,
)
from rella_cpp.retrieval.index.projection import Projection
from rella_gguf.files import locked

TITLES = [f"Movie {n}" for n in range(40)]
CATALOG = [Item({"id": str(n), "title": title, "year": 1980 + n}) for n, title in enumerate(TITLES)]


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_vectors_are_the_projected_means_and_searching_agrees_with_brute_force(judge: Rella, tmp_path: Path) -> None:
    index = build_index(judge.vectors, CATALOG, tmp_path / "i", settings=IndexSettings(dtype="f32"))
    raw = judge.embed(CATALOG).astype(np.float64)
    centred = raw - raw.mean(0)
    # PCA to the full width is a rotation: cosines are those of the centred hidden states.
    assert index.manifest.dim == raw.shape[1] and index.manifest.explained == pytest.approx(1)
    unit = centred / np.linalg.norm(centred, axis=1, keepdims=True)
    np.testing.assert_allclose(index.vectors(range(40)) @ index.vectors(range(40)).T, unit @ unit.T, atol=1e-4)
    for row in (0, 17):
        wanted = np.argsort(-(unit @ unit[row]), kind="stable")[:10]
        for exact in (True, False):
            rows, cosines = index.search(index.vectors([row])[0], 10, exact=exact)
            np.testing.assert_allclose(cosines, (unit @ unit[row])[wanted], atol=1e-4)
            assert rows[0] == row and (np.diff(cosines) <= 0).all()


@pytest.mark.parametrize(("count", "asked", "dim"), [(40, 512, 16), (40, 5, 5), (3, 512, 3), (1, 512, 1)])
def test_the_dimension_is_what_width_and_catalog_allow(
    judge: Rella, tmp_path: Path, count: int, asked: int, dim: int
) -> None:
    index = build_index(judge.vectors, CATALOG[:count], tmp_path / "i", settings=IndexSettings(asked))
    assert index.manifest.dim == dim and index.vectors([0]).shape == (1, dim)
    assert np.linalg.norm(index.vectors([0])) == pytest.approx(1, abs=1e-3)
    assert index.search(index.vectors([0])[0], 10)[0][0] == 0


def test_pooling_over_the_items_own_words_gives_other_vectors(judge: Rella, tmp_path: Path) -> None:
    whole = build_index(judge.vectors, CATALOG, tmp_path / "a")
    own = build_index(judge.vectors, CATALOG, tmp_path / "b", settings=IndexSettings(pool="item"))
    assert np.abs(whole.vectors(range(40)) - own.vectors(range(40))).max() > 0.01
    assert own.manifest.pool == "item" and whole.fingerprint != own.fingerprint


def test_the_shared_beginning_is_computed_once(judge: Rella, tmp_path: Path) -> None:
    build_index(judge.vectors, CATALOG, tmp_path / "i")
    asked, computed = judge.vectors.tokens()
    start = len(judge.engine.vocabulary.tokenize("Movie. Title:")) + 1
    assert 39 * (start - 1) < asked - computed  # once for all in one call; and titles begin alike, too
    assert judge.engine.prompt_tokens == asked


class Killed(BaseException):
    pass


@pytest.mark.parametrize("after", [64, 128])
def test_a_killed_build_goes_on_and_ends_the_same(judge: Rella, tmp_path: Path, after: int) -> None:
    catalog = [Item({"id": str(n), "title": f"Movie {n * n} {'x' * (n % 7)}"}) for n in range(150)]
    wanted = contents(build_index(judge.vectors, catalog, tmp_path / "a").folder)

    def kill(task: str, done: int, _total: int) -> None:
        if task == "embedding items" and done == after:
            raise Killed

    with Rella.from_gguf(judge.engine.header.path, cache=Cache(tmp_path / "c")) as other:
        with pytest.raises(Killed):
            build_index(other.vectors, catalog, tmp_path / "b", progress=kill)
        assert not (tmp_path / "b").exists()
        before = other.engine.decoded_tokens
        index = build_index(other.vectors, catalog, tmp_path / "b")
        assert contents(index.folder) == wanted
        asked, _ = other.vectors.tokens()
        assert other.engine.decoded_tokens - before < asked  # what was written to the cache is not computed again
    assert index.ids() == [str(n) for n in range(150)]  # none lost, none doubled


def test_building_again_returns_what_is_there_and_refuses_other_settings(judge: Rella, tmp_path: Path) -> None:
    index = build_index(judge.vectors, CATALOG, tmp_path / "i")
    before = contents(index.folder)
    assert contents(build_index(judge.vectors, CATALOG, tmp_path / "i").folder) == before
    for changed, said in (
        ({"settings": IndexSettings(dim=4)}, "another dim: 512, not 4"),
        ({"settings": IndexSettings(pool="item")}, "another pool: prompt, not item"),
        ({"items": CATALOG[:5]}, "another items: 40, not 5"),
        ({"items": [*CATALOG[:39], Item({"id": "39", "title": "x"})]}, "another contents of its items"),
    ):
        arguments: dict[str, Any] = {"items": CATALOG, **changed}
        with pytest.raises(InputError, match=said):
            build_index(judge.vectors, out=tmp_path / "i", **arguments)
    assert contents(index.folder) == before
    forced = build_index(judge.vectors, CATALOG[:5], tmp_path / "i", force=True)
    assert len(forced) == 5
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "thesis.txt").write_text("x")
    with pytest.raises(InputError, match="no index"):
        build_index(judge.vectors, CATALOG, tmp_path / "other")


def test_items_can_be_added_by_the_same_model_only(judge: Rella, tmp_path: Path) -> None:
    index = build_index(judge.vectors, CATALOG[:30], tmp_path / "i")
    first = index.vectors(range(30))
    grown, added = add_to_index(index, judge.vectors, CATALOG)
    assert added == 10 and len(grown) == 40
    np.testing.assert_array_equal(grown.vectors(range(30)), first)
    assert [grown.row(item, judge.domain) for item in CATALOG] == list(range(40))
    assert sorted(path.name for path in grown.folder.iterdir()) == [
        "items-1.parquet",
        "manifest.json",
        "pca.npz",
        "vectors-1.usearch",
    ]
    assert add_to_index(grown, judge.vectors, CATALOG)[1] == 0
    with pytest.raises(InputError, match="with other fields"):
        add_to_index(grown, judge.vectors, [Item({"id": "3", "title": "Movie 3", "year": 2000})])
    # The same item, as a table with gaps writes it.
    add_to_index(grown, judge.vectors, [Item({"id": 3.0, "title": CATALOG[3].fields["title"], "year": 1983.0})])
    other = write_model(tmp_path / "other.gguf", seed=9)
    with Rella.from_gguf(other, cache=Cache(None)) as stranger:
        with pytest.raises(InputError, match="was built with the model"):
            add_to_index(grown, stranger.vectors, [Item({"title": "New"})])
        with pytest.raises(InputError, match="was built with the model"):
            search_text(grown, stranger.vectors, "Movie")


def test_a_kill_while_adding_leaves_the_index_as_it_was(
    judge: Rella, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = build_index(judge.vectors, CATALOG[:30], tmp_path / "i")
    before = index.vectors(range(30))
    monkeypatch.setattr("rella_cpp.retrieval.index.manifest.write_json", lambda *_: (_ for _ in ()).throw(Killed()))
    with pytest.raises(Killed):
        add_to_index(index, judge.vectors, CATALOG)
    monkeypatch.undo()
    again = ItemIndex.open(index.folder)
    np.testing.assert_array_equal(again.vectors(range(30)), before)
    assert len(add_to_index(again, judge.vectors, CATALOG)[0]) == 40


def test_text_is_searched_as_a_title(judge: Rella, tmp_path: Path) -> None:
    plain = [Item({"title": title}) for title in TITLES]
    index = build_index(judge.vectors, plain, tmp_path / "i")
    found = search_text(index, judge.vectors, "Movie 7", 3)
    assert found[0][0] == plain[7] and found[0][1] == pytest.approx(1, abs=1e-3) and len(found) == 3
    dated = build_index(judge.vectors, CATALOG, tmp_path / "dated")
    for text in ("movie 7", " Movie 7 (1987) "):  # the item itself, though its own text holds the year as well
        assert search_text(dated, judge.vectors, text, 1)[0][0].fields["id"] == "7"
    sequel = build_index(judge.vectors, [*CATALOG, Item({"id": "x", "title": "Alien: Part II"})], tmp_path / "sequel")
    assert search_text(sequel, judge.vectors, "alien", 1)[0][0].fields["id"] == "x"
    assert search_text(sequel, judge.vectors, "alie", 1)[0][1] < 0.999  # a word's beginning is no title's
    (nearest, cosine), *_ = search_text(dated, judge.vectors, "Something else", 1)
    assert cosine < 0.999 and nearest in CATALOG
    with pytest.raises(InputError, match="count is 0"):
        search_text(index, judge.vectors, "Movie 7", 0)


def test_scores_over_an_index_take_its_vectors_whatever_model_judges(judge: Rella, tmp_path: Path) -> None:
    index = build_index(judge.vectors, CATALOG, tmp_path / "i")
    history = [{**item.fields, "rating": 3} for item in CATALOG[:30]]
    target = CATALOG[35]
    cosines = index.vectors(range(30)) @ index.vectors([35])[0]
    wanted = tuple(sorted(np.argsort(-cosines, kind="stable")[:4].tolist()))
    other = write_model(tmp_path / "other.gguf", seed=9, shape=Shape(ctx=4096))
    with Rella.from_gguf(other, cache=Cache(None)) as stranger:
        stranger.use_index(index)
        assert stranger.score(history, target, k=4).used == wanted
        with pytest.raises(InputError, match="is not in the index .* another model made it"):
            stranger.score(history, {"title": "Unknown"}, k=4)
    judge.use_index(index.folder)
    assert judge.score(history, target, k=4).used == wanted
    unknown = judge.score(history, {"title": "Movie 35", "year": 2015}, k=4)  # embedded and projected: the same vector
    assert unknown.used == wanted


def test_another_wording_is_refused_unless_allowed(judge: Rella, tmp_path: Path) -> None:
    index = build_index(judge.vectors, CATALOG, tmp_path / "i")
    with Rella.from_gguf(judge.engine.header.path, domain="books", cache=Cache(None)) as books:
        with pytest.raises(InputError, match="domain movies .* not as books"):
            books.use_index(index)
        books.use_index(index, allow_mismatch=True)


def test_opening_reads_the_manifest_alone(small_index: ItemIndex, tmp_path: Path) -> None:
    # What is damaged is noticed where it is read: no file is when an index is opened, nor the items' for vectors.
    folder = Path(shutil.copytree(small_index.folder, tmp_path / "i"))
    for name in ("items-0.parquet", "pca.npz"):
        (folder / name).write_bytes(b"damaged")
    index = ItemIndex.open(folder)
    assert (index.vectors([0, 1]) == small_index.vectors([0, 1])).all()
    for use in (index.ids, lambda: index.projection):
        with pytest.raises(InputError, match="is damaged"):
            use()


def test_what_cannot_be_indexed_is_refused(judge: Rella, tmp_path: Path) -> None:
    twice = [Item({"id": "1", "title": "A"}), Item({"id": "2", "title": "B"}), Item({"id": "1", "title": "C"})]
    with pytest.raises(InputError, match=r"item\[2\]: is the same item as item\[0\]"):
        build_index(judge.vectors, twice, tmp_path / "i")
    for bad in ({"dim": 0}, {"pool": "all"}, {"dtype": "i8"}):
        with pytest.raises(InputError):
            IndexSettings(**bad)
    with pytest.raises(InputError, match="no such folder"):
        ItemIndex.open(tmp_path / "nowhere")
    with pytest.raises(InputError, match="is no index"):
        ItemIndex.open(tmp_path)


def test_items_are_found_by_id_and_without_one_as_they_are_shown(judge: Rella, tmp_path: Path) -> None:
    items = [Item({"id": 1, "title": "A"}), Item({"title": "B"})]
    index, movies = build_index(judge.vectors, items, tmp_path / "i"), load_domain("movies")
    found = [
        index.row(Item(fields), movies)
        for fields in ({"id": "1", "title": "a"}, {"title": "A"}, {"id": "9", "title": "B"}, {"id": "9", "title": "A"})
    ]
    assert found == [0, 0, 1, None]
    with pytest.raises(InputError, match="has 'A' under the id 1, not 'Z'; give the index of this catalog"):
        index.row(Item({"id": "1", "title": "Z"}), movies)
    assert index.item(0) == items[0] and index.ids() == ["1", None]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.lists(st.floats(-100, 100, width=32), min_size=6, max_size=6), min_size=1, max_size=12),
    st.integers(1, 8),
)
def test_projecting_gives_unit_rows_each_for_itself(rows: Sequence[Sequence[float]], dim: int) -> None:
    vectors = np.array(rows, np.float32)
    projection = Projection.fit(vectors, dim)
    together = projection(vectors)
    assert together.shape == (len(rows), min(dim, 6, len(rows)))
    lengths = np.linalg.norm(together, axis=1)
    assert ((np.abs(lengths - 1) < 1e-4) | (lengths == 0)).all()
    for row, wanted in zip(vectors, together, strict=True):
        np.testing.assert_array_equal(projection(row[None])[0], wanted)


def test_the_manifest_names_what_made_it(small_index: ItemIndex, small_data: DataSet) -> None:
    facts = json.loads((small_index.folder / "manifest.json").read_text())
    assert {"fingerprint", "template", "pool", "dim", "versions", "engine"} <= set(facts)
    assert facts["versions"]["usearch"] and facts["items"] == small_data.items.num_rows


def test_an_index_can_be_built_where_one_stands(judge: Rella, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert len(build_index(judge.vectors, CATALOG[:5], ".", settings=IndexSettings(dim=4)).vectors([0, 4])) == 2
    monkeypatch.chdir(tmp_path)  # the folder in which we stood was replaced
    assert len(ItemIndex.open("here")) == 5


def test_nothing_is_overwritten_that_is_no_index(judge: Rella, tmp_path: Path, small_data: DataSet) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    for folder in (tmp_path / "mine", small_data.folder):
        with pytest.raises(InputError, match="no index: it is not overwritten"):
            build_index(judge.vectors, CATALOG, folder, force=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "x" and DataSet.open(small_data.folder)


def test_an_index_that_grew_is_not_taken_for_one_built_whole(judge: Rella, tmp_path: Path) -> None:
    whole = build_index(judge.vectors, CATALOG, tmp_path / "whole", settings=IndexSettings(8))
    part = build_index(judge.vectors, CATALOG[:12], tmp_path / "part", settings=IndexSettings(8))
    grown, _ = add_to_index(part, judge.vectors, CATALOG)
    assert whole.ids() == grown.ids() and whole.fingerprint != grown.fingerprint  # PCA knew fewer items
    with pytest.raises(InputError, match="built of fewer items and added to"):
        build_index(judge.vectors, CATALOG, tmp_path / "part", settings=IndexSettings(8))


def test_two_do_not_add_at_once_and_a_full_disk_keeps_the_old(
    judge: Rella, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = build_index(judge.vectors, CATALOG[:30], tmp_path / "i")
    stale = ItemIndex.open(index.folder)
    with locked(index.folder), pytest.raises(InputError, match="another process"):
        add_to_index(index, judge.vectors, CATALOG)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("rella_cpp.retrieval.index.build.write_items", full)
    with pytest.raises(InputError, match="No space left"):
        add_to_index(index, judge.vectors, CATALOG)
    monkeypatch.undo()
    assert sorted(path.suffix for path in index.folder.iterdir()) == [".json", ".npz", ".parquet", ".usearch"]
    add_to_index(index, judge.vectors, CATALOG[:35])
    grown, added = add_to_index(stale, judge.vectors, CATALOG)  # it was opened before the others were added
    assert added == 5 and grown.ids() == [str(n) for n in range(40)]


def test_a_reader_goes_on_where_items_were_added(judge: Rella, tmp_path: Path) -> None:
    folder = build_index(judge.vectors, CATALOG[:30], tmp_path / "i").folder
    untouched, half_read, whole = (ItemIndex.open(folder) for _ in range(3))
    assert half_read.ids() == whole.ids() == [str(n) for n in range(30)]
    before = whole.vectors(range(30))
    grown, _ = add_to_index(whole, judge.vectors, CATALOG)  # removes the files that the others were opened with
    np.testing.assert_array_equal(whole.vectors(range(30)), before)  # what is mapped stays
    for index in (untouched, half_read):
        np.testing.assert_array_equal(index.vectors(range(40)), grown.vectors(range(40)))
        assert len(index) == 40 and index.ids() == grown.ids() and index.fingerprint == grown.fingerprint
        assert index.search(before[3], 40)[0][0] == 3
        assert index.row(CATALOG[39], judge.domain) == 39


def test_a_reader_of_an_index_that_was_built_again_is_told_so(judge: Rella, tmp_path: Path) -> None:
    index = ItemIndex.open(build_index(judge.vectors, CATALOG[:30], tmp_path / "i").folder)
    build_index(judge.vectors, CATALOG[10:], index.folder, force=True)
    with pytest.raises(InputError, match="was built again since it was opened; open it again"):
        index.vectors([0])


@pytest.mark.parametrize("name", ["vectors-1.usearch", "items-1.parquet"])
def test_nothing_is_added_through_a_link(judge: Rella, tmp_path: Path, name: str) -> None:
    index = build_index(judge.vectors, CATALOG[:30], tmp_path / "i")
    (tmp_path / "thesis.txt").write_text("x")
    (index.folder / name).symlink_to(tmp_path / "thesis.txt")
    with pytest.raises(InputError, match=f"{name}: is a symbolic link"):
        add_to_index(index, judge.vectors, CATALOG)
    assert (tmp_path / "thesis.txt").read_text() == "x" and len(ItemIndex.open(index.folder).ids()) == 30


def test_an_id_with_half_a_surrogate_pair_is_kept_out_of_trouble(judge: Rella, tmp_path: Path) -> None:
    index = build_index(judge.vectors, [Item({"id": "\ud800", "title": "A"}), *CATALOG], tmp_path / "i")
    assert len(index) == 41 and index.ids()[0] == "?"


def test_ids_of_a_table_with_gaps_are_those_of_one_without(judge: Rella, tmp_path: Path) -> None:
    movies, nan = load_domain("movies"), float("nan")
    items = [Item({"id": 1.0, "title": "A"}), Item({"id": "2.0", "title": "B"}), Item({"id": nan, "title": "C"})]
    index = build_index(judge.vectors, items, tmp_path / "i")
    assert index.ids() == ["1", "2", None] and index.item(2).fields == {"id": None, "title": "C"}
    asked = [(1, "A"), ("1.0", "A"), (2.0, "B"), ("2", "B"), (nan, "B")]
    assert [index.row(Item({"id": known, "title": title}), movies) for known, title in asked] == [0, 0, 1, 1, 1]
    with pytest.raises(InputError, match=r"is the same item as item\[0\] \('1'\)"):
        build_index(judge.vectors, [Item({"id": 1, "title": "A"}), Item({"id": 1.0, "title": "B"})], tmp_path / "j")
    texts = [Item({"id": "1.0", "title": "A"}), Item({"id": "1.0a", "title": "B"})]
    assert build_index(judge.vectors, texts, tmp_path / "k").ids() == ["1.0", "1.0a"]
