"""The fuzzing script tells good ends from bad ones, and makes the same inputs again."""

import json
import os
import shutil
from pathlib import Path
from random import Random

import pytest
from commands import runner
from damaged_data import DATA_MAKERS, whole_inputs
from fuzz import Attempt, Outcome, end_of, ends, main, report
from mutations import Parts, damage_bytes, damage_json, damage_values

from rella_gguf import check_judge, check_model, read_header


@pytest.mark.parametrize(
    ("code", "lines", "end"),
    [
        (0, [], "accepted"),
        (0, ["note: odd"], "accepted"),
        (2, ["rella: m.gguf: is no GGUF file"], "refused"),
        (1, ["rella: WARNING: slow", "rella: no context"], "refused"),
        (2, ["rella: one", "rella: two"], "refused"),  # the faults of a domain's file
        (1, ["rella: one", "rella: two"], "other"),
        (2, [], "other"),
        (2, ["llama.cpp: GGML_ASSERT"], "other"),
        (3, ["rella: one"], "other"),
        (1, ["Traceback (most recent call last):", "ValueError: x"], "traceback"),
        (-6, ["rella: one"], "signal"),
        (134, [], "signal"),
    ],
)
def test_an_end_is_named(code: int, lines: list[str], end: str) -> None:
    assert end_of(code, lines) == end


def test_bad_ends_are_listed_with_what_makes_them_again(capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = Outcome(Attempt("bytes", 3), "refused", ""), Outcome(Attempt("values", 4), "signal", "GGML_ASSERT")
    assert report([good], 7) and not report([good, bad], 7)
    assert "signal: --seed 7 --only values/4: GGML_ASSERT" in capsys.readouterr().out


def test_a_model_taken_apart_and_put_together_is_the_same(any_model: Path, tmp_path: Path) -> None:
    again = tmp_path / "again.gguf"
    again.write_bytes(Parts.of(any_model).pack())
    before, after = read_header(any_model), read_header(again)
    assert (after.metadata, after.tensors) == (before.metadata, before.tensors)
    check_judge(check_model(again))


def test_the_same_seed_makes_the_same_damage(any_model: Path) -> None:
    def made(seed: int) -> tuple[bytes, bytes, bytes]:
        dice, parts = Random(seed), Parts.of(any_model)
        damage_values(parts, dice)
        text = damage_json(b'{"a": 1, "b": [2, {"c": 3}]}', dice)
        assert isinstance(json.loads(text), dict)
        return parts.pack(), damage_bytes(any_model.read_bytes(), dice), text

    assert [made(seed) for seed in range(20)] == [made(seed) for seed in range(20)]
    assert len({made(seed) for seed in range(20)}) == 20


def test_the_real_command_is_run_and_its_end_seen(tmp_path: Path) -> None:
    end, said = ends(("score", "--model", os.fspath(tmp_path)), tmp_path)
    assert end == "refused" and said.startswith("rella: ")


def test_one_input_can_be_tried_again(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--only", "bytes/0"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["refused", "bytes"]


@pytest.mark.parametrize("kind", list(DATA_MAKERS))
def test_damaged_data_is_refused_or_taken_and_made_the_same_again(
    kind: str, tmp_path: Path, spm_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "spm.gguf").symlink_to(spm_model)
    run = runner(capsys)
    assert run(*whole_inputs(tmp_path, Random(0))).code == 0

    def made(number: int) -> tuple[list[bytes], int]:
        folder = tmp_path / "damaged"
        folder.mkdir()
        command = DATA_MAKERS[kind](tmp_path, folder, Random(f"7/{number}"))[0]
        found = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
        result = run(*command)
        end = end_of(int(str(result.code)), result.err.splitlines())
        assert end in ("refused", "accepted"), result.err
        shutil.rmtree(folder)
        return found, int(str(result.code))

    ends = [made(number) for number in range(8)]
    assert ends[0][0] == made(0)[0]
    assert 2 in {code for _, code in ends}
