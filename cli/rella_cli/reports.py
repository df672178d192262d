"""How a run's report looks."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from rella_cli.terminal import console, count, note, print_json

if TYPE_CHECKING:
    from rella_cpp import Run

METRICS = {
    "auc": "AUC",
    "log_loss": "LogLoss",
    "accuracy": "ACC",
    "ece": "ECE",
    "brier": "Brier",
    "user_auc": "user AUC",
}

# What fits side by side; --json and the page have all.
_CLICKED = {name: METRICS[name] for name in ("auc", "log_loss", "accuracy", "ece")}
_RANKED = {"ndcg@10": "NDCG@10", "mrr@10": "MRR@10", "recall@10": "Recall@10"}
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
            console().rule(Text(str(run.folder)), style="dim")
        show = show_ranking if run.ranking else _show
        show(run, found)
    if len(runs) > 1 and not as_json:
        show_comparison(runs)


def _show(run: "Run", found: Mapping[str, Any]) -> None:
    out = console()
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("")
    for metric, title in METRICS.items():
        table.add_column(title, justify="right", no_wrap=True)
        if metric == "auc":
            table.add_column("95 %", style="dim", no_wrap=True)
    for name, values in found["metrics"].items():
        style = "bold" if name in found["differences"] else ""
        cells = [Text(name, style=style)]
        for metric in METRICS:
            cells.append(Text(figure(values[metric]["value"]), style=style))
            if metric == "auc":
                cells.append(Text(between(values[metric])))
        table.add_row(*cells)
    out.print()
    out.print(table)
    out.print()
    for sentence in found["verdicts"]:
        out.print(Text(sentence))
    _conclude(
        run,
        found,
        f"{found['samples']:,} samples of {found['users']:,} users, {found['label_rate']:.1%} liked",
        f"user AUC over {count(found['users_with_both_labels'], 'user')} with both labels",
    )


def show_ranking(run: "Run", found: Mapping[str, Any]) -> None:
    """Print a ranking run's figures: Recall, MRR and NDCG at each cut."""
    from rella_cpp.evaluation.ranking_metrics import CUTS, DECIDING, KINDS

    names = [f"{kind}@{cut}" for kind in KINDS for cut in CUTS]
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("")
    for name in names:
        kind, _, cut = name.partition("@")
        title = {"recall": "Recall", "mrr": "MRR", "ndcg": "NDCG"}[kind]
        table.add_column(f"{title if cut == '3' else ''}\n@{cut}", justify="right", no_wrap=True)
    table.add_column("95 %\nof @10", style="dim", no_wrap=True)
    for predictor, values in found["metrics"].items():
        style = "bold" if predictor in found["differences"] else ""
        shown = [Text(f"{values[name]['value']:.3f}", style=style) for name in names]
        table.add_row(Text(predictor, style=style), *shown, Text(between(values[DECIDING])))
    table.add_row("chance", *(f"{found['chance'][name]:.3f}" for name in names), "", style="dim")
    out = console()
    out.print()
    out.print(table)
    out.print()
    for sentence in found["verdicts"]:
        out.print(Text(sentence))
    areas = ", ".join(f"{name} {values['user_auc']['value']:.3f}" for name, values in found["metrics"].items())
    _conclude(
        run,
        found,
        f"{count(found['users'], 'user')}, each with one item liked among {found['candidates'] - 1} never touched",
        f"AUC within users: {areas}",
    )


def _conclude(run: "Run", found: Mapping[str, Any], *facts: str) -> None:
    """Print what the samples and the prompts were, the run's folder, notes and warnings."""
    out = console()
    shown = [
        *facts,
        *([f"answer mass {found['answer_mass']['mean']:.2f}"] if "answer_mass" in found else []),
        *([f"{found['prompt_tokens']:.0f} tokens a prompt"] if "prompt_tokens" in found else []),
        *([f"{found['shortened']} prompts shortened to fit"] if found.get("shortened") else []),
        *(_of_summaries(found["summaries"]) if "summaries" in found else []),
    ]
    out.print(Padding(Text(" · ".join(shown), style="dim"), (1, 0, 0, 0)))
    out.print(Text(str(run.folder), style="dim"))
    for sentence in found["notes"]:
        note(f"note: {sentence}")
    if found.get("answer_mass", {}).get("low_share", 0) > 0.5:
        note(
            f"warning: in {found['answer_mass']['low_share']:.0%} of the samples the two answers hold little of the "
            "model's whole answer: it does not answer in that form"
        )


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

    out, rows = console(), compare_runs(runs)
    out.print()
    out.print(_comparison(rows, "users", _RANKED) if runs[0].ranking else _comparison(rows, "samples", _CLICKED))
    out.print()
    for row in rows:
        if row["verdict"]:
            out.print(Text(row["verdict"]))


def _comparison(rows: Sequence[Mapping[str, Any]], counted: str, metrics: Mapping[str, str]) -> Table:
    """Make a table with a row a predictor: `counted` is what a run's size is in; the first metric has its interval."""
    table = Table(box=None, pad_edge=False)
    first, *others = metrics
    for title in ("run", "", "K", _SIZES[counted], metrics[first], "95 %", *(metrics[name] for name in others)):
        table.add_column(title, justify="left" if title in ("run", "", "95 %") else "right", no_wrap=title != "run")
    for row in rows:
        values = row["metrics"]
        table.add_row(
            Text(row["run"]),
            Text(row["predictor"]),
            str(row["k"] or "–"),
            f"{row[counted]:,}",
            figure(values[first]["value"]),
            between(values[first]),
            *(figure(values[name]["value"]) for name in others),
        )
    return table
