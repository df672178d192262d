import csv
import os
from pathlib import Path

import pytest
from browser import needs_browser, opened
from test_calibration import fake_run

from rella_cpp import InputError, compare_runs, open_runs, report, write_page
from rella_cpp.evaluation.reports.comparison import run_names
from rella_cpp.evaluation.reports.tables import write_csv, write_latex
from rella_cpp.pages.page import refuse_page


def test_runs_on_the_same_samples_get_a_paired_difference(tmp_path: Path) -> None:
    first, same = fake_run(tmp_path / "a"), fake_run(tmp_path / "b")
    rows = compare_runs([first, same])
    assert [(row["run"], row["predictor"]) for row in rows] == [
        ("a", "model"),
        ("a", "contrast"),
        ("b", "model"),
        ("b", "contrast"),
    ]
    assert rows[0]["difference"] is None and rows[0]["verdict"] == ""
    # The very same predictions: no difference, and none that could be told.
    assert rows[2]["difference"] == {"value": 0, "low": 0, "high": 0, "distinguishable": False}
    assert "b model is not distinguishable from a model" in rows[2]["verdict"]


def test_runs_on_other_samples_are_not_compared(tmp_path: Path) -> None:
    for other in (fake_run(tmp_path / "few", 500), fake_run(tmp_path / "else", data={"name": "y"})):
        row = compare_runs([fake_run(tmp_path / f"a{other.folder.name}"), other])[-2]
        assert row["difference"] is None and "have other samples: no paired difference" in row["verdict"]


def test_runs_are_named_as_shortly_as_tells_them_apart(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / name, 30) for name in ("x/k5", "y/k5", "y/k7")]
    assert run_names(runs) == ["x/k5", "y/k5", "y/k7"]
    assert run_names(runs[1:]) == ["k5", "k7"]
    assert [run.folder.name for run in open_runs([tmp_path / "y"])] == ["k5", "k7"]


def test_a_report_says_plainly_what_beats_what(tmp_path: Path) -> None:
    # The data's true slope on the gap is .4: better than chance, and no baseline stands beside it.
    found = report(fake_run(tmp_path / "run"))
    assert found["metrics"]["model"]["auc"]["low"] > 0.6 and found["verdicts"] == []
    assert found["metrics"]["contrast"]["auc"] == found["metrics"]["model"]["auc"]  # one shift for all changes no order
    assert found["metrics"]["contrast"]["log_loss"] != found["metrics"]["model"]["log_loss"]


def test_a_page_is_the_same_each_time_and_kept_without_force(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    runs = [fake_run(tmp_path / "<b>", 200)]
    write_page(runs, tmp_path / "a.html")
    text = (tmp_path / "a.html").read_text()
    assert "&lt;b&gt;" in text and "<b>" not in text
    write_page(runs, tmp_path / "b.html")
    assert (tmp_path / "b.html").read_text() == text
    with pytest.raises(InputError, match="is there already"):
        write_page(runs, tmp_path / "a.html")
    with pytest.raises(InputError, match="there is no such folder"):
        write_page(runs, tmp_path / "no" / "where.html")


def test_nothing_but_its_own_kind_is_overwritten(tmp_path: Path) -> None:
    runs, mine = [fake_run(tmp_path / "run", 200)], tmp_path / "mine"
    for write in (write_csv, write_latex):
        mine.write_text("my notes")
        with pytest.raises(InputError, match="is not a table of compared runs, so it is not overwritten"):
            write(runs, mine, force=True)
        assert mine.read_text() == "my notes"
        mine.unlink()
        write(runs, mine)
        write(runs, mine, force=True)
    os.mkfifo(tmp_path / "pipe")
    for name in ("mine", "pipe"):
        with pytest.raises(InputError, match="is not a page, so it is not overwritten"):
            refuse_page(tmp_path / name, force=True)
    with pytest.raises(InputError, match="a page goes to a file"):
        refuse_page(Path("-"))


@needs_browser
def test_a_browser_opens_the_page_of_runs(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    write_page([fake_run(tmp_path / "one", 200), fake_run(tmp_path / "two", 200)], tmp_path / "page.html")
    shown = opened(tmp_path / "page.html")
    assert shown.count("<figure>") == shown.count("<svg") > 3 and ">one<" in shown


def test_tables_for_other_programs_have_all_figures(tmp_path: Path) -> None:
    runs = [fake_run(tmp_path / "a_1%", 200), fake_run(tmp_path / "b", 300)]
    write_csv(runs, tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    expected = compare_runs(runs)
    assert [(row["run"], row["predictor"]) for row in rows] == [(row["run"], row["predictor"]) for row in expected]
    for row, wanted in zip(rows, expected, strict=True):
        assert float(row["auc"]) == wanted["metrics"]["auc"]["value"]
    write_latex(runs, tmp_path / "t.tex")
    lines = (tmp_path / "t.tex").read_text().splitlines()
    assert lines[0].startswith(r"\begin{tabular}{llrr") and lines[-1] == r"\end{tabular}"
    assert sum(line.startswith(r"a\_1\% & ") for line in lines) == 2 and any(r"\textbf{" in line for line in lines)
    with pytest.raises(InputError, match="is there already"):
        write_latex(runs, tmp_path / "t.tex")
    write_csv(runs, tmp_path / "t.csv", force=True)
