"""How a run's report looks."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table

from rella_cli.views.terminal import console, count, line, note, print_json
from rella_cpp.evaluation.reports.report import warnings_of
from rella_cpp.metrics.bootstrap import METRICS

if TYPE_CHECKING:
    from rella_cpp import Run
    from rella_cpp.evaluation.protocols import RankingProtocol

# What fits side by side; --json and the page have all.
_CLICKED = {name: METRICS[name] for name in ("auc", "log_loss", "accuracy", "ece")}
_SIZES = {"samples": "n", "users": "users"}


def show_reports(runs: "Sequence[Run]", *, as_json: bool) -> None:
    """Print the report of each run; several also side by side."""
    from rella_cpp import report

    for run in runs:
        found = report(run)
        if as_json:
            print_json({"run": str(run.folder), "settings": dict(run.settings), **found})
            continue
        if len(runs) > 1:
            console().print()
            console().rule(line(str(run.folder)), style="dim")
        if run.ranking is None:
            _show(run, found)
        else:
            show_ranking(run, run.ranking, found)
    if len(runs) > 1 and not as_json:
        show_comparison(runs)


def _show(run: "Run", found: Mapping[str, Any]) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("")
    for metric, title in METRICS.items():
        table.add_column(title, justify="right", no_wrap=True)
        if metric == "auc":
            table.add_column("95 %", style="dim", no_wrap=True)
    for name, values in found["metrics"].items():
        style = "bold" if name in found["differences"] else ""
        cells = [line(name, style)]
        for metric in METRICS:
            cells.append(line(figure(values[metric]["value"]), style))
            if metric == "auc":
                cells.append(line(between(values[metric])))
        table.add_row(*cells)
    _draw(table, found["verdicts"])
    _conclude(
        run,
        found,
        f"{found['samples']:,} samples of {found['users']:,} users, {found['label_rate']:.1%} liked",
        f"user AUC over {count(found['users_with_both_labels'], 'user')} with both labels",
    )


def show_ranking(run: "Run", protocol: "RankingProtocol", found: Mapping[str, Any]) -> None:
    """Print the figures of a run of such a protocol: each metric at each cut."""
    from rella_cpp.metrics.ranking import metric_title

    names = [name for name in protocol.metrics if name != "user_auc"]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    above = ""
    for name in names:
        title, at, cut = metric_title(name).partition("@")
        table.add_column(f"{'' if title == above else title}\n{at}{cut}", justify="right", no_wrap=True)
        above = title
    table.add_column(f"95 %\nof @{protocol.deciding.partition('@')[2]}", style="dim", no_wrap=True)
    for predictor, values in found["metrics"].items():
        style = "bold" if predictor in found["differences"] else ""
        shown = [line(f"{values[name]['value']:.3f}", style) for name in names]
        table.add_row(line(predictor, style), *shown, line(between(values[protocol.deciding])))
    table.add_row("chance", *(f"{found['chance'][name]:.3f}" for name in names), "", style="dim")
    _draw(table, found["verdicts"])
    others = found["candidates"] - 1
    told = [f"{count(found['users'], 'user')}, each with {protocol.positive} among {others} never touched"]
    if "user_auc" in protocol.metrics:
        areas = (f"{name} {values['user_auc']['value']:.3f}" for name, values in found["metrics"].items())
        told.append(f"AUC within users: {', '.join(areas)}")
    _conclude(run, found, *told)


def _draw(table: Table, verdicts: Sequence[str]) -> None:
    """Print a table, and what it says in words."""
    out = console()
    out.print()
    out.print(table)
    out.print()
    for sentence in verdicts:
        out.print(line(sentence))


def _conclude(run: "Run", found: Mapping[str, Any], *facts: str) -> None:
    """Print what the samples and the prompts were, the run's folder, notes and warnings."""
    out = console()
    shown = [
        *facts,
        *([f"answer mass {found['answer_mass']['mean']:.2f}"] if "answer_mass" in found else []),
        *([f"{found['prompt_tokens']:.0f} tokens a prompt"] if "prompt_tokens" in found else []),
        *([_cost(found["cost"])] if "cost" in found else []),
        *([f"{found['shortened']} prompts shortened to fit"] if found.get("shortened") else []),
        *(_of_summaries(found["summaries"]) if "summaries" in found else []),
    ]
    out.print(Padding(line(" · ".join(shown), "dim"), (1, 0, 0, 0)))
    out.print(line(str(run.folder), "dim"))
    for sentence in found["notes"]:
        note(f"note: {sentence}")
    for sentence in warnings_of(found):
        note(f"warning: {sentence}")


def _cost(cost: Mapping[str, Any]) -> str:
    """Say what a run cost: prompt tokens, how many of them were decoded, and the time."""
    decoded, seconds = cost["decoded_tokens"], cost["seconds"]
    rate = f" ({decoded / seconds:,.0f} a second)" if seconds else ""
    return f"{cost['prompt_tokens']:,} prompt tokens, {decoded:,} decoded in {timedelta(seconds=round(seconds))}{rate}"


def _of_summaries(counts: Mapping[str, int]) -> list[str]:
    """Say how the preference summaries came out."""
    told = [f"summaries: {counts['written']:,} written"]
    told += [f"{counts['empty']:,} came out empty"] if counts["empty"] else []
    told += [f"{counts['none']:,} missing, the history is too short for a block"] if counts["none"] else []
    shortened = counts["item_texts_shortened"]
    return [*told, f"{count(shortened, 'item text')} shortened"] if shortened else told


def figure(value: float | None) -> str:
    """Write a metric; a dash where it is undefined."""
    return "–" if value is None else f"{value:.4f}"


def between(interval: Mapping[str, Any]) -> str:
    """Write an interval's ends; nothing where it is undefined."""
    return "" if interval["low"] is None else f"{interval['low']:.3f}–{interval['high']:.3f}"


def show_comparison(runs: "Sequence[Run]") -> None:
    """Print one row a run and predictor, and the differences from the first."""
    from rella_cpp import compare_runs
    from rella_cpp.metrics.ranking import metric_title

    rows, protocol = compare_runs(runs), runs[0].ranking
    if protocol is None:
        table = _comparison(rows, "samples", _CLICKED)
    else:
        table = _comparison(rows, "users", {name: metric_title(name) for name in protocol.compared})
    _draw(table, [row["verdict"] for row in rows if row["verdict"]])


def note_shared(asked: int, computed: int) -> None:
    """Say how much of what prompts asked for was read once for several."""
    if asked:
        note(f"prompts of {asked:,} tokens; {computed:,} were computed, since what prompts share is read once")


def _comparison(rows: Sequence[Mapping[str, Any]], counted: str, metrics: Mapping[str, str]) -> Table:
    """Make a table with a row a predictor: `counted` is what a run's size is in; the first metric has its interval."""
    table = Table(box=None, pad_edge=False)
    first, *others = metrics
    for title in ("run", "", "K", _SIZES[counted], metrics[first], "95 %", *(metrics[name] for name in others)):
        table.add_column(title, justify="left" if title in ("run", "", "95 %") else "right", no_wrap=title != "run")
    for row in rows:
        values = row["metrics"]
        table.add_row(
            line(row["run"]),
            line(row["predictor"]),
            str(row["k"] or "–"),
            f"{row[counted]:,}",
            figure(values[first]["value"]),
            between(values[first]),
            *(figure(values[name]["value"]) for name in others),
        )
    return table
