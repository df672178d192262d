"""A folder of preference summaries: `summaries.json` (settings), `summaries.jsonl` (one line a sample)."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np

from rella_cpp.datasets.layout import SPLITS
from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import brief, read_json, sha256
from rella_cpp.storage.journal import JournalFiles, read_lines
from rella_cpp.storage.manifests import find_manifest
from rella_cpp.summarization.settings import SummarySettings
from rella_cpp.summarization.summary import BlockSummary, PreferenceSummary
from rella_gguf.strict_json import loads

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

_T = TypeVar("_T", int, str)
_SETTINGS, _LINES = "summaries.json", "summaries.jsonl"
_REMEDY = "summarise again into another folder, or with --force"


@dataclass(frozen=True, slots=True)
class SampleSummary:
    """A sample's summary.

    Attributes
    ----------
    sample
        Its row among the data set's samples.
    split
        The split that it belongs to.
    user, item
        The ids of the user and of the target.
    summary
        What was written of the history before the target, the target itself left out; behaviors by position among the
        user's interactions.

    """

    sample: int
    split: str
    user: str
    item: str
    summary: PreferenceSummary

    def as_line(self) -> dict[str, object]:
        """Return a JSON object: the same whatever the cache held."""
        told = {name: value for name, value in self.summary.as_dict().items() if name != "generated"}
        return {"sample": self.sample, "split": self.split, "user": self.user, "item": self.item, **told}


def sample_key(data: "DataSet", row: int) -> dict[str, object]:
    """Return what of a sample's line is known before it is written."""
    samples = data.samples
    split, user, item = SPLITS[int(samples.split[row])], int(samples.user[row]), int(samples.item[row])
    return {"sample": row, "split": split, "user": data.user_id(user), "item": data.item_id(item)}


@dataclass(frozen=True)
class Summaries:
    """Finished summaries.

    Attributes
    ----------
    folder
        Where they lie.
    settings
        Their `summaries.json`.
    summary
        How they were made.

    """

    folder: Path
    settings: Mapping[str, Any]
    summary: SummarySettings

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Open a folder of summaries.

        Raises
        ------
        InputError
            It is none, is damaged, or is not finished.

        """
        folder = Path(folder)
        path = find_manifest(folder, _SETTINGS, "folder of summaries", "make one: rella summarize DATA -o DIR")
        settings = read_json(path, _REMEDY)
        if not all(isinstance(settings.get(name), dict) for name in ("data", "samples", "summary", "author")):
            raise InputError("is of no folder of summaries", source=path, remedy=_REMEDY)
        try:
            known = {name: value for name, value in settings["summary"].items() if name != "wording"}
            summary = SummarySettings(**known)
        except (InputError, TypeError) as error:
            raise InputError(f"holds settings that are none ({error})", source=path, remedy=_REMEDY) from None
        if not (folder / _LINES).is_file():
            raise InputError("is not finished", source=folder, remedy="give the same rella summarize command again")
        return cls(folder, settings, summary)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 of all lines."""
        return sha256(self.folder / _LINES)

    @cached_property
    def lines(self) -> list[SampleSummary]:
        """All summaries, ascending by sample."""
        path, wanted = self.folder / _LINES, self.settings["samples"].get("count")
        lines = read_lines(path, _parse, "is no summary", _REMEDY)
        if len(lines) != wanted:
            raise InputError(f"holds {len(lines)} summaries of {wanted}", source=path, remedy=_REMEDY)
        return lines

    def of(self, sample: int) -> SampleSummary:
        """Return a sample's summary.

        Raises
        ------
        InputError
            There is none.

        """
        if sample not in self._places:
            raise InputError(f"has no summary of sample {sample}", source=self.folder, remedy="summarise more: --limit")
        return self.lines[self._places[sample]]

    def rows(self, split: str) -> list[int]:
        """Return the samples of a split, ascending."""
        return [line.sample for line in self.lines if line.split == split]

    def check(self, data: "DataSet", domain: Domain) -> None:
        """Refuse a data set or a wording that the summaries are not of.

        Raises
        ------
        InputError
            They are of another.

        """
        made, wording = self.settings["data"], self.settings["summary"].get("wording")
        if made.get("fingerprint") != data.fingerprint:
            raise InputError(
                f"is of another data set: {brief(made)}, not {data.name}, {data.fingerprint[:12]}",
                source=self.folder,
                remedy="give the data set that was summarised, or summarise this one",
            )
        if wording != domain.summary_fingerprint:
            raise InputError(
                f"was written in other words than the domain {domain.name} has now",
                source=self.folder,
                remedy="give the --domain that it was written with, or summarise again",
            )
        last = -1
        for number, line in enumerate(self.lines, start=1):
            if not last < line.sample < len(data.samples.label) or not self._fits(line, data):
                raise InputError(
                    "does not fit the data",
                    source=self.folder / _LINES,
                    place=f"line {number}",
                    remedy=f"it was changed: {_REMEDY}",
                )
            last = line.sample

    def _fits(self, line: SampleSummary, data: "DataSet") -> bool:
        """Tell whether a line is of its sample, and its blocks hold what these settings read before the target."""
        own = data.others(line.sample)
        blocks = [tuple(own[block.start : block.stop].tolist()) for block in self.summary.blocks(len(own))]
        known = {"sample": line.sample, "split": line.split, "user": line.user, "item": line.item}
        return (
            sample_key(data, line.sample) == known
            and line.summary.method == self.summary.method
            and [block.behaviors for block in line.summary.blocks] == blocks
        )

    def report(self) -> dict[str, Any]:
        """Return how many summaries there are and how they came out, as JSON.

        `none` counts histories too short for a block, `empty` texts (of blocks or of all) with no word in them, `words`
        is a summary's mean length.
        """
        found = [line.summary for line in self.lines]
        written = [summary.text for summary in found if summary.text]
        return {
            "samples": len(found),
            "users": len({line.user for line in self.lines}),
            "splits": {name: rows for name in SPLITS if (rows := len(self.rows(name)))},
            "texts": sum(summary.texts for summary in found),
            "written": len(written),
            "none": sum(summary.text is None for summary in found),
            "empty": sum(summary.empty for summary in found),
            "words": float(np.mean([len(text.split()) for text in written])) if written else None,
            "shortened": sum(summary.shortened for summary in found),
            "skipped": sum(summary.skipped for summary in found),
        }

    @cached_property
    def _places(self) -> dict[int, int]:
        return {line.sample: place for place, line in enumerate(self.lines)}


def _parse(text: str, _first: SampleSummary | None) -> SampleSummary:
    """Parse a line; ValueError, KeyError or TypeError where it is none."""
    line: Any = loads(text)
    blocks = tuple(
        BlockSummary(tuple(_checked(place, int) for place in block["behaviors"]), _checked(block["summary"], str))
        for block in line["blocks"]
    )
    whole = None if line["summary"] is None else _checked(line["summary"], str)
    shortened, skipped = (_checked(line[name], int) for name in ("shortened", "skipped"))
    summary = PreferenceSummary(whole, _checked(line["method"], str), blocks, shortened=shortened, skipped=skipped)
    if (whole is None) != (not blocks) or summary.empty != line["empty"] or line["split"] not in SPLITS:
        raise ValueError("the summary does not fit its blocks, or there is no such split")
    user, item = (_checked(line[name], str) for name in ("user", "item"))
    return SampleSummary(_checked(line["sample"], int), line["split"], user, item, summary)


def _checked(value: object, kind: type[_T]) -> _T:
    if not isinstance(value, kind) or isinstance(value, bool):
        raise TypeError(f"it is no {kind.__name__}")
    return value


LAYOUT = JournalFiles("a folder of summaries", _SETTINGS, _LINES, (), _REMEDY, _parse)
"""What such a folder holds."""
