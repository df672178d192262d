"""Bundles: one folder that scores as the parts it was made of do, wherever it is moved to."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from peft_folder import write_soft
from tiny_model import Shape, write_adapter, write_model

import rella_cpp
from rella_cpp import (
    Bundle,
    BundleSettings,
    Cache,
    Calibration,
    InputError,
    ItemIndex,
    Rella,
    Selection,
    load_domain,
    save_bundle,
)
from rella_cpp.bundles.bundle import find_bundle
from rella_cpp.scoring.calibration import made_for

HISTORY = [{"title": "Heat", "year": 1995, "rating": 5}, {"title": "Fargo", "year": 1996, "rating": 2}]
ITEM = {"title": "Alien", "year": 1979}
READING = {"k": 4, "retrieval": "recent", "order": "time"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parts")
    write_model(folder / "base.gguf", shape=Shape(ctx=2048))
    write_adapter(folder / "a.gguf")
    with opened(folder) as rella:
        made = made_for(rella.settings(), READING)
    Calibration({"gap": 2.0}, 0.5, False, made, {"samples": 100}).save(folder / "c.json")
    return folder


def opened(parts: Path) -> Rella:
    return Rella.from_gguf(parts / "base.gguf", lora=[(parts / "a.gguf", 0.5)])


@pytest.fixture(scope="module")
def bundle(parts: Path) -> Path:
    settings = BundleSettings(
        selection=Selection(4, "recent"), calibration=parts / "c.json", card={"trained on": "nothing"}
    )
    with opened(parts) as rella:
        save_bundle(rella, parts / "bundle", settings)
    return parts / "bundle"


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "elsewhere" / "app"))


def test_a_bundle_scores_as_its_parts_do_wherever_it_is(bundle: Path, copy: Path, parts: Path) -> None:
    with opened(parts) as rella:
        expected = rella.score(HISTORY, ITEM, k=4, retrieval="recent").probability
    with Rella.from_bundle(copy) as rella:
        score = rella.score(HISTORY, ITEM)
    assert score.probability == expected and score.calibrated is not None
    assert not any(str(parts) in file.read_text(errors="replace") for file in bundle.glob("*.json"))


def test_another_reading_is_judged_without_the_bundles_calibration(
    copy: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Rella.from_bundle(copy) as rella:
        assert rella.score(HISTORY, ITEM, k=2).calibrated is None
        assert "not calibrated, since the calibration was fitted with another reading.k: 4, not 2" in caplog.text
        (why,) = rella.explain(HISTORY, [ITEM], k=2)
        assert why.terms == () and why.score.calibrated is None
        assert rella.score(HISTORY, ITEM, k=4).calibrated is not None
        rella.use_calibration(copy / "calibration.json")  # of one's own choice, it is to fit
        with pytest.raises(InputError, match="another reading.k"):
            rella.score(HISTORY, ITEM, k=2)


def test_a_folder_that_nobody_can_write_serves_without_a_cache(copy: Path) -> None:
    for file in (*copy.iterdir(), copy):
        file.chmod(0o555)
    before = {file: file.stat().st_mtime_ns for file in (copy, *copy.iterdir())}
    with Rella.from_bundle(copy, cache=Cache(None)) as rella:
        assert 0 < rella.score(HISTORY, ITEM).probability < 1
    # Whoever may write everywhere, as root may, has written nothing there either.
    assert {file: file.stat().st_mtime_ns for file in (copy, *copy.iterdir())} == before


def test_a_manifest_says_what_it_was_made_of(bundle: Path) -> None:
    said = Bundle.open(bundle).manifest
    assert said.name == "bundle" and said.base.source == "model.gguf" and said.layout == "question"
    assert said.adapters == (("adapter.gguf", 0.5),) and said.card == {"trained on": "nothing"}
    assert sorted(said.files) == ["adapter.gguf", "calibration.json", "model.gguf"]


def edited(change: Callable[[dict[str, object]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        from rella_cpp.storage.artifacts import write_json

        facts = json.loads((folder / "bundle.json").read_text())
        del facts["sha256"]
        change(facts)
        write_json(folder / "bundle.json", facts)

    return edit


def longer(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        with (folder / name).open("ab") as file:
            file.write(b"\0")

    return change


def link(folder: Path) -> None:
    outside = folder.parent / "outside.gguf"
    (folder / "adapter.gguf").rename(outside)
    (folder / "adapter.gguf").symlink_to(outside)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "model.gguf").unlink(), "lacks its base model, model.gguf"),
        (lambda folder: (folder / "adapter.gguf").unlink(), "lacks its adapter, adapter.gguf"),
        (longer("adapter.gguf"), "its adapter, adapter.gguf, is not the one that it was made with"),
        (longer("model.gguf"), "its base model, model.gguf, is not the one"),
        (longer("calibration.json"), "its calibration, calibration.json, is not the one"),
        (link, "its adapter, adapter.gguf, is a link out of it"),
        (edited(lambda facts: facts.update(rella_bundle=2)), "is of format .2., this rella reads format 1"),
        (edited(lambda facts: facts.pop("rella_bundle")), "is no bundle.json of a bundle"),
        (edited(lambda facts: facts.update(k=0)), "is damaged .k is .0"),
        (edited(lambda facts: facts.update(strange=1)), "strange"),
        (edited(lambda facts: facts.update(adapters=[["../a.gguf", 1]])), "outside the bundle"),
        (edited(lambda facts: facts.update(adapters=[["/a.gguf", 1]])), "outside the bundle"),
        (edited(lambda facts: facts.update(adapters=[["C:/a.gguf", 1]])), "outside the bundle"),
        (edited(lambda facts: facts.update(adapters=[["a.gguf"]])), "is damaged"),
        (edited(lambda facts: facts.update(files={})), "has no fingerprint of its base model"),
        (edited(lambda facts: facts.update(base=3)), "is damaged .base is .3"),
        (edited(lambda facts: facts.update(adapters=[["adapter.gguf", "inf"]])), "a scale is no finite number"),
        (edited(lambda facts: facts.update(adapters=[["adapter.gguf", 10**400]])), "is damaged"),
        (edited(lambda facts: facts.update(adapters=[["adapter.gguf", 1], ["adapter.gguf", 1]])), "named twice"),
        (edited(lambda facts: facts.update(adapters=[["a" * 5000, 1]])), "has no fingerprint of its adapter"),
        (edited(lambda facts: facts["files"].update({"a" * 5000: "f"})), "lacks its file"),  # type: ignore[attr-defined]
        (edited(lambda facts: facts["files"].update({"../f": "f"})), "outside the bundle"),  # type: ignore[attr-defined]
        (edited(lambda facts: facts["base"].update(fingerprint="0")), "another file of"),  # type: ignore[attr-defined]
        (
            edited(lambda facts: facts.update(base={"name": "m", "fingerprint": "f", "source": "hf:no/such"})),
            "its base model, m: .*rella pull hf:no/such",
        ),
        (
            edited(lambda facts: facts.update(base={"name": "m", "fingerprint": "f", "source": "packaged"})),
            "was made with another file of m",
        ),
        (lambda folder: (folder / "bundle.json").unlink(), "is no bundle .it has no bundle.json"),
        (lambda folder: (folder / "bundle.json").write_text("{}"), "is no bundle.json of a bundle"),
    ],
)
def test_what_is_no_longer_what_it_was_is_refused(copy: Path, damage: Callable[[Path], object], said: str) -> None:
    damage(copy)
    with pytest.raises(InputError, match=said) as caught:
        Bundle.open(copy)
    assert "\n" not in str(caught.value)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(InputError, match="bundle"):
        Bundle.open("movies-135x")


def test_a_bundle_takes_the_place_of_one_and_of_nothing_else(parts: Path, copy: Path, tmp_path: Path) -> None:
    with opened(parts) as rella:
        with pytest.raises(InputError, match="is there already"):
            save_bundle(rella, copy, BundleSettings())
        save_bundle(rella, copy, BundleSettings(link=True), force=True)
        assert Bundle.open(copy).manifest.calibration is None
        assert os.stat(copy / "model.gguf").st_ino == os.stat(parts / "base.gguf").st_ino
        (tmp_path / "other").mkdir()
        (tmp_path / "other" / "file").write_text("mine")
        with pytest.raises(InputError, match="no bundle: it is not overwritten"):
            save_bundle(rella, tmp_path / "other", BundleSettings(), force=True)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda facts: facts.update(layout="list"), "layout"),
        (lambda facts: facts.update(retrieval="random"), "retrieval"),
        (lambda facts: facts.update(order="random"), "order"),
        (lambda facts: facts.update(domain="sports"), "sports"),
    ],
)
def test_how_it_reads_is_checked_and_the_bundle_named(
    copy: Path, change: Callable[[dict[str, object]], object], said: str
) -> None:
    edited(change)(copy)
    with pytest.raises(InputError, match=said) as caught:
        Rella.from_bundle(copy)
    assert str(copy / "bundle.json") in str(caught.value)


def test_a_bundle_of_other_words_is_refused_by_its_name(copy: Path) -> None:
    edited(lambda facts: facts.update(wording="junk"))(copy)
    said = "the bundle bundle was made for other words than those of the domain movies"
    with pytest.raises(InputError, match=said):
        Rella.from_bundle(copy)


def test_files_in_the_folder_of_a_part_are_compared_too(parts: Path, small_index: ItemIndex, tmp_path: Path) -> None:
    with opened(parts) as rella:
        rella.use_index(small_index.folder, allow_mismatch=True)
        save_bundle(rella, tmp_path / "b", BundleSettings())
    names = [name for name in Bundle.open(tmp_path / "b").manifest.files if name.startswith("index/")]
    assert len(names) >= 3
    for name in names:
        broken = Path(shutil.copytree(tmp_path / "b", tmp_path / name.replace("/", "-")))
        longer(name)(broken)
        with pytest.raises(InputError, match=f"its index, {name}, is not the one"):
            Bundle.open(broken)
        (broken / name).unlink()
        with pytest.raises(InputError, match=f"lacks its index, {name}"):
            Bundle.open(broken)


def test_a_split_model_is_one(tmp_path: Path) -> None:
    with Rella.from_gguf(write_model(tmp_path / "m.gguf", shape=Shape(ctx=2048), tensors_a_file=9)) as rella:
        save_bundle(rella, tmp_path / "b", BundleSettings())
    with Rella.from_bundle(tmp_path / "b") as rella:
        assert rella.score(HISTORY, ITEM).model.bundle is not None


def test_parts_fit_each_other_whatever_their_files_are_called(parts: Path, tmp_path: Path) -> None:
    toml = (Path(rella_cpp.__file__).parent / "domains/movies.toml").read_text()
    (tmp_path / "my films.toml").write_text(toml)
    write_soft(tmp_path / "prompt of mine")
    domain = load_domain(tmp_path / "my films.toml")
    with Rella.from_gguf(parts / "base.gguf", domain=domain, soft=tmp_path / "prompt of mine") as rella:
        made = made_for(rella.settings(), READING)
        Calibration({"gap": 2.0}, 0.5, False, made, {"samples": 100}).save(tmp_path / "c.json")
        reading = Selection(4, "recent")
        settings = BundleSettings(selection=reading, calibration=tmp_path / "c.json", domain=tmp_path / "my films.toml")
        save_bundle(rella, tmp_path / "b", settings)
    with Rella.from_bundle(tmp_path / "b") as rella:
        assert rella.score(HISTORY, ITEM).calibrated is not None


def test_the_name_of_a_shipped_bundle_is_that_bundle_whatever_lies_here(
    bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rella_cpp.bundles.bundle._SHIPPED", bundle.parent)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bundle").mkdir()
    assert find_bundle("bundle") == bundle and find_bundle("./bundle") == Path("bundle")
    with pytest.raises(InputError, match="the bundle has no name"):
        find_bundle("")
