"""Examples to tune on: samples drawn from a split, read with recent and with retrieved behaviors (ReiT, ReLLa §3.3)."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_seed
from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError
from rella_cpp.prompts.yes_no import Order, write_prompt
from rella_cpp.retrieval.samples import Histories
from rella_cpp.retrieval.selection import Retrieval, Selection
from rella_cpp.tuning.samples import SampleExample, located, sample_place

Mix = Literal["both", "original", "retrieved"]
MIXES: dict[str, tuple[Retrieval, ...]] = {"both": ("recent", "subr"), "original": ("recent",), "retrieved": ("subr",)}
"""Which histories each sample is written with: `both` is ReiT, the others its ablations."""


@dataclass(frozen=True, slots=True)
class TuningSettings:
    """What is drawn and how it is read.

    `shots` samples are drawn from the training split with `seed`; the first hundred of more shots are those of fewer.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    shots: int = 256
    k: int = 30
    mix: Mix = "both"
    order: Order = "time"
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        if self.shots < 1:
            raise InputError(f"shots is {self.shots}", remedy="give at least 1 sample (--shots 256)")
        check_seed(self.seed)
        if self.mix not in get_args(Mix):
            raise InputError(f"mix is {self.mix!r}", remedy=f"one of {', '.join(MIXES)}")
        Selection(self.k, "recent", self.order)

    @property
    def needs_vectors(self) -> bool:
        """Whether an index is needed."""
        return "subr" in MIXES[self.mix] or self.order == "similarity"

    @property
    def judged_with(self) -> Retrieval:
        """How a validation sample is read: as the tuned model will be asked, with retrieved behaviors if it saw any."""
        return MIXES[self.mix][-1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Example(SampleExample):
    """One prompt with its answer; `used` are the positions of its behaviors among the user's, in prompt order."""

    retrieval: Retrieval
    used: tuple[int, ...]

    @property
    def facts(self) -> dict[str, object]:
        """What its row says besides the prompt, as JSON."""
        return {"sample": self.sample, "retrieval": self.retrieval, "label": int(self.label)}


class Examples:
    """Reads a data set's samples as prompts.

    Parameters
    ----------
    data, domain
        The samples, and the words for them.
    histories
        Chooses behaviors; over an index where `settings.needs_vectors`.
    settings
        What is drawn and how it is read.

    Raises
    ------
    InputError
        Behaviors are to be retrieved, and there is no index.

    """

    def __init__(self, data: DataSet, histories: Histories, domain: Domain, settings: TuningSettings) -> None:
        if settings.needs_vectors and histories.vectors is None:
            wanted = "order" if settings.mix == "original" else "mix"
            raise InputError(
                f"the {wanted} {getattr(settings, wanted)} needs an index",
                remedy="give --index DIR (rella index build), or --mix original in the order of time",
            )
        self.data, self.histories, self.domain, self.settings = data, histories, domain, settings

    @property
    def rows(self) -> int:
        """How many training examples there are."""
        return self.settings.shots * len(MIXES[self.settings.mix])

    @property
    def folders(self) -> list[Path]:
        """The folders that are read."""
        index = self.histories.vectors
        return [self.data.folder, *([] if index is None else [index.folder])]

    def facts(self, valid: int) -> dict[str, object]:
        """Return what the examples come from besides data and domain, as JSON, for `valid` validation rows."""
        index = self.histories.vectors
        return {
            "samples": asdict(self.settings) | {"valid": valid},
            "index": None if index is None else index.identity,
        }

    def training(self) -> Iterator[Example]:
        """Yield the training examples, in the order drawn; of one sample, the recent history's first.

        Raises
        ------
        InputError
            The training split has fewer samples than shots, or a record does not fit the domain.

        """
        for row in self.data.draw("train", self.settings.shots, self.settings.seed).tolist():
            for retrieval in MIXES[self.settings.mix]:
                yield self._read(row, retrieval)

    def validation(self, count: int) -> Iterator[Example]:
        """Yield `count` examples of the validation split, or all if there are fewer; each sample once."""
        available = len(self.data.samples.rows("valid"))
        if available and count:
            for row in self.data.draw("valid", min(count, available), self.settings.seed).tolist():
                yield self._read(row, self.settings.judged_with)

    def _read(self, row: int, retrieval: Retrieval) -> Example:
        data, samples, settings = self.data, self.data.samples, self.settings
        used = self._ordered(row, self.histories.choose(row, settings.k, retrieval))
        behaviors = data.behaviors(self.histories.start(row) + used)
        user, item = data.user(int(samples.user[row])), data.item(int(samples.item[row]))
        with located(data.folder, sample_place(row)):
            text = write_prompt(self.domain, user, behaviors, item, settings.order)
        label = bool(samples.label[row])
        return Example(
            sample=row,
            label=label,
            answer=self.domain.answers[0 if label else 1],
            text=text,
            retrieval=retrieval,
            used=tuple(used.tolist()),
        )

    def _ordered(self, row: int, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """Bring ascending positions into the prompt's order."""
        if self.settings.order == "time":
            return positions
        if self.settings.order == "reversed":
            return positions[::-1]
        nearest, _ = self.histories.nearest(row, max(1, len(self.histories.others(row))))
        return nearest[np.isin(nearest, positions)]
