"""Folders of ours: what is said of one that is none, of another kind or version, or no longer as it was written."""

from pathlib import Path

import pytest

from rella_cpp import InputError
from rella_cpp.storage.artifacts import sha256, write_json
from rella_cpp.storage.manifests import Tables, find_manifest

TABLES = Tables(
    mark="rella_lists",
    version=2,
    noun="lists",
    absent="holds no lists",
    give="imported lists",
    make="make them: import",
    again="import them again",
)


def folder_of(path: Path, **changed: object) -> Path:
    path.mkdir()
    (path / "a.parquet").write_bytes(b"a table")
    manifest = {"rella_lists": 2, "files": {"a.parquet": sha256(path / "a.parquet")}, **changed}
    write_json(path / "manifest.json", manifest)
    return path


def said(folder: Path) -> str:
    with pytest.raises(InputError) as refused:
        TABLES.check(folder, TABLES.manifest(folder), ["a.parquet"])
    return str(refused.value).replace(str(folder), "F")


def test_a_folder_as_it_was_written_is_taken_without_its_seal(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", name="SASRec")
    manifest = TABLES.manifest(folder)
    TABLES.check(folder, manifest, ["a.parquet"])
    assert set(manifest) == {"rella_lists", "files", "name"}


def test_what_is_no_such_folder_is_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert said(tmp_path / "none") == "F: no such folder; give imported lists, or make them: import"
    assert said(file) == "F: is no folder; give imported lists, or make them: import"
    (tmp_path / "empty").mkdir()
    assert said(tmp_path / "empty") == "F: holds no lists; make them: import"
    other = tmp_path / "other"
    other.mkdir()
    write_json(other / "manifest.json", {"rella_data": 1})
    assert said(other) == "F/manifest.json: is no manifest of lists; make them: import"


def test_another_version_is_told_before_its_seal_is_compared(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f", rella_lists=3)
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("a.parquet", "b.parquet"))
    wanted = "F/manifest.json: is of version 3, this rella reads version 2; import them again"
    assert said(folder) == wanted


def test_damage_is_found(tmp_path: Path) -> None:
    folder = folder_of(tmp_path / "f")
    (folder / "a.parquet").write_bytes(b"another")
    assert said(folder) == "F/a.parquet: is not as it was written (its SHA-256 differs); import them again"
    (folder / "a.parquet").unlink()
    assert said(folder) == "F/a.parquet: no such file; import them again"
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace("a.parquet", "b.parquet"))
    assert "is damaged (its contents and its checksum differ)" in said(folder)


def test_the_file_that_makes_a_folder_one_of_ours_is_named(tmp_path: Path) -> None:
    for folder, finding in ((tmp_path, "is no run \\(it has no run.json\\)"), (tmp_path / "none", "no such folder")):
        with pytest.raises(InputError, match=f"{finding}; evaluate"):
            find_manifest(folder, "run.json", "run", "evaluate")
    (tmp_path / "run.json").write_text("{}")
    assert find_manifest(tmp_path, "run.json", "run", "evaluate") == tmp_path / "run.json"
