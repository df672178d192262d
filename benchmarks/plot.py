"""Draw what peers.py measured: time an item, on a logarithmic scale (extra plot); print the tables.

python benchmarks/plot.py results.json -o peers.png
python benchmarks/plot.py results.json -o peers.png --readme benchmarks/README.md
"""

import argparse
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compared.report import OURS, REFERENCE, tables
from rella_cpp import InputError
from rella_cpp.storage.artifacts import read_json
from rella_gguf.files import check_output, new_file
from rella_gguf.shown import harmless, one_line

_PLACE = re.compile(r"(<!-- results -->\n).*?(<!-- end of results -->)", re.DOTALL)


def draw(results: Mapping[str, Any], out: Path) -> None:
    """Draw horizontal bars, one panel for ranking and one for embedding."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot
    from matplotlib.ticker import NullFormatter

    panels = [(name, results[name]) for name in ("rank", "embed") if results[name]]
    heights = [len(rows) + 1 for _, rows in panels]
    figure, axes = pyplot.subplots(
        len(panels), 1, figsize=(9, 0.42 * sum(heights) + 0.8), squeeze=False, height_ratios=heights
    )
    for axis, (name, rows) in zip(axes[:, 0], panels, strict=True):
        rows = sorted(rows, key=lambda row: -row["seconds_a_prompt"])
        seconds = [row["seconds_a_prompt"] for row in rows]
        colours = ["#2a7f9e" if row["peer"] in (OURS, REFERENCE) else "#b8b8b8" for row in rows]
        bars = axis.barh(
            [harmless(row["peer"]) + ("" if row["agrees"] else " *") for row in rows], seconds, color=colours
        )
        axis.bar_label(bars, [f" {value:.3g} s" for value in seconds], fontsize=8)
        axis.set_xscale("log")
        axis.set_xlim(min(seconds) / 2, max(seconds) * 4)
        mix = results["mix"]
        what = f"ranking {mix['items']} items" if name == "rank" else f"embedding {mix['titles']} titles"
        axis.set_title(f"{what}: seconds each", fontsize=10, loc="left")
        axis.tick_params(labelsize=8)
        for label in axis.get_yticklabels():
            label.set_parse_math(False)  # a $ in a name is no formula
        axis.xaxis.set_minor_formatter(NullFormatter())
    model, threads = results["model"], results["settings"]["threads"]
    star = "   * answers differ" if any(not row["agrees"] for _, rows in panels for row in rows) else ""
    figure.text(
        0.01,
        0.01,
        harmless(f"{model['name']} {model['quantisation']}, {results['machine']['cpu']}, threads: {threads}{star}"),
        fontsize=7,
        parse_math=False,
    )
    figure.tight_layout(rect=(0, 0.04, 1, 1))
    with new_file(out) as file:
        figure.savefig(file, format="png", dpi=150)
    pyplot.close(figure)


def fill(readme: Path, text: str) -> None:
    """Put the tables between the marks in a README.

    Raises
    ------
    InputError
        It has no such marks.

    """
    before = readme.read_text(encoding="utf-8")
    if not _PLACE.search(before):
        raise InputError("has no place for results", source=readme, remedy="put <!-- results --> … marks there")
    with new_file(readme) as file:
        file.write(_PLACE.sub(lambda found: f"{found[1]}{text}{found[2]}", before).encode())


def main(arguments: list[str] | None = None) -> None:
    """Read the JSON, draw, print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path, help="the JSON file that peers.py wrote")
    parser.add_argument("-o", "--out", type=Path, required=True, help="the PNG file to write")
    parser.add_argument("--force", action="store_true", help="overwrite it")
    parser.add_argument("--readme", type=Path, help="put the tables into this file, too")
    chosen = parser.parse_args(arguments)
    try:
        check_output(chosen.out, [chosen.results], force=chosen.force)
        results = read_json(chosen.results, "give what peers.py wrote", sealed=False)
        if not {"rank", "embed", "mix", "machine"} <= results.keys():
            raise InputError("is no comparison", source=chosen.results, remedy="give what peers.py wrote")
        text = harmless(tables(results), lines=True)
        draw(results, chosen.out)
        if chosen.readme:
            fill(chosen.readme, text)
    except InputError as error:
        print(f"plot: {one_line(str(error))}", file=sys.stderr)
        sys.exit(2)
    print(text, end="")


if __name__ == "__main__":
    main()
