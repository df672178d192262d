from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tiny_model import Shape, random_weights, spm_vocab, write_adapter, write_model

from rella_cpp import EngineError, EngineSettings, GGUFError, InputError, find_model
from rella_cpp.benchmark.quantization import Advice, AdviceSettings, advise, recommended
from rella_gguf.quantization import plan, quantize

SHAPE = Shape(embd=64, ff=128, layers=4)
ONE = EngineSettings(threads=1)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("source") / "tiny.gguf", shape=SHAPE)


def test_fewer_bits_take_less_room_and_lose_more(source: Path, tmp_path: Path) -> None:
    steps: list[tuple[int, int]] = []
    rows = advise(
        source,
        AdviceSettings(["q8_0", "Q4_0", "Q8_0"], repeats=1),
        engine=ONE,
        folder=tmp_path,
        progress=lambda _task, done, total, _note: steps.append((done, total)),
    )
    assert [(row.type, row.as_is) for row in rows] == [("F32", True), ("Q8_0", False), ("Q4_0", False)]
    own, eight, four = rows
    assert own.bytes == source.stat().st_size > eight.bytes > four.bytes == plan(source, "Q4_0").bytes
    # Weights that are not quantised are the reference themselves; the losses are shares of a probability.
    assert own.loss == 0.0 < eight.loss < four.loss < 1.0 and own.relative == 1.0
    assert all(row.tokens_per_second > 0 and (row.layers, row.of_layers) == (4, 4) for row in rows)
    assert eight.tokens_per_second / own.tokens_per_second == pytest.approx(eight.relative)
    assert steps == [(number, len(steps)) for number in range(len(steps))]
    assert not list(tmp_path.iterdir())


def test_a_quantised_file_is_compared_with_its_own_weights(source: Path, tmp_path: Path) -> None:
    quantize(source, tmp_path / "q8.gguf", "Q8_0")
    rows = advise(tmp_path / "q8.gguf", AdviceSettings(["Q8_0", "F32", "Q4_0"], repeats=1), engine=ONE)
    assert [row.type for row in rows] == ["Q8_0", "F32", "Q4_0"]  # Q8_0 again would change nothing
    own, dequantised, four = rows
    # The same weights in more bits are the reference but for its rounding to F16; Q4_0 loses something for good.
    assert dequantised.loss < 0.005 < four.loss and own.loss < four.loss


def test_a_cut_model_stands_for_the_whole(source: Path) -> None:
    (whole,) = advise(source, AdviceSettings([], repeats=1), engine=ONE)
    own, four = advise(source, AdviceSettings(["Q4_0"], layers=1, repeats=1), engine=ONE)
    assert (own.layers, own.of_layers, own.bytes) == (1, 4, whole.bytes)
    assert four.bytes == plan(source, "Q4_0").bytes  # the whole file's size, not the cut one's


def test_the_loss_does_not_change_from_run_to_run(source: Path) -> None:
    first, second = (advise(source, AdviceSettings(["Q4_0"], repeats=1), engine=ONE)[1].loss for _ in range(2))
    assert first == second


ROW = Advice("Q4_1", True, 100, 100.0, 1.0, 0.03, 30, 30)


@pytest.mark.parametrize(
    ("others", "chosen"),
    [
        ([("Q4_0", 3.0, 0.3), ("Q8_0", 2.0, 0.04), ("Q6_K", 2.5, 0.09)], "Q6_K"),  # Q4_0 is faster and loses too much
        ([("Q8_0", 2.45, 0.04), ("Q6_K", 2.5, 0.09)], "Q8_0"),  # as fast, and loses less
        ([("Q8_0", 1.05, 0.0)], "Q4_1"),  # not clearly faster
        ([("Q4_0", 3.0, 0.11)], "Q4_1"),
        ([], "Q4_1"),
    ],
)
def test_the_fastest_of_a_modest_loss_is_recommended(others: list[tuple[str, float, float]], chosen: str) -> None:
    rows = [ROW] + [Advice(name, False, 90, 100 * speed, speed, loss, 30, 30) for name, speed, loss in others]
    assert recommended(rows).type == chosen


def test_less_may_be_lost_where_fewer_layers_were_measured() -> None:
    row = replace(ROW, as_is=False, loss=0.06)
    assert row.modest and not replace(row, layers=7).modest  # 0.06 of 7 layers would be some 0.12 of 30
    assert replace(row, layers=7, loss=0.04).modest and replace(ROW, loss=0.5).modest


def test_bad_requests_are_refused(source: Path, tmp_path: Path) -> None:
    truncated = tmp_path / "cut.gguf"
    truncated.write_bytes(source.read_bytes()[:-100])
    bad: list[tuple[Path, dict[str, Any], str]] = [
        (truncated, {}, "truncated"),
        (write_adapter(tmp_path / "a.gguf"), {}, "of the kind adapter"),
        (source, {"types": ["Q4_X"]}, "unknown quantisation"),
        (source, {"types": ["IQ1_S"]}, "needs an importance matrix"),
        (source, {"layers": 0}, "layers is 0"),
        (source, {"repeats": 0}, "repeats is 0"),
    ]
    for path, changed, said in bad:
        with pytest.raises(InputError, match=said):
            advise(path, AdviceSettings(**changed))
    with pytest.raises(InputError, match="cannot be written"):
        advise(source, AdviceSettings([]), folder=tmp_path / "none")


def test_a_folder_without_room_is_refused_before_anything_is_written(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(InputError, match="another folder in TMPDIR"):
        advise(source, AdviceSettings(["Q8_0"]), folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_weights_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    weights = random_weights(len(spm_vocab().tokens), SHAPE, 0)
    weights["output_norm.weight"][0] = np.nan
    path = write_model(tmp_path / "nan.gguf", shape=SHAPE, weights=weights)
    with pytest.raises((EngineError, GGUFError), match="no finite numbers|invalid data"):
        advise(path, AdviceSettings(["F16"], repeats=1), engine=ONE)


@pytest.mark.model
def test_the_packaged_model_loses_more_in_q4_0_than_in_q8_0() -> None:
    own, eight, four = advise(find_model(None), AdviceSettings(["Q8_0", "Q4_0"], layers=3, repeats=1))
    assert (own.type, own.of_layers) == ("Q4_1", 30)
    assert eight.loss < 0.05 < four.loss and four.bytes < own.bytes < eight.bytes
