"""Calibrated probabilities for scores: which calibration is in use, and what a blend knows of items."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.domains.values import id_text
from rella_cpp.scoring.results import Score

if TYPE_CHECKING:
    from rella_cpp.retrieval.index.item_index import ItemIndex
    from rella_cpp.scoring.calibration import Calibration

logger = logging.getLogger("rella_cpp")


class Calibrator:
    """Adds calibrated probabilities to scores.

    Parameters
    ----------
    calibration
        The calibration.
    domain
        Tells items from each other.
    index
        Gives the index in use, by which a blend knows items without an id.
    any_reading
        Whether to take scorers and readings that it was not fitted for.
    source
        The calibration's file, for messages.

    """

    def __init__(
        self,
        calibration: "Calibration",
        domain: Domain,
        index: "Callable[[], ItemIndex | None]",
        *,
        any_reading: bool = False,
        source: str | Path | None = None,
    ) -> None:
        self.calibration = calibration
        self._domain, self._index = domain, index
        self._any_reading, self._source = any_reading, source

    @classmethod
    def of(
        cls,
        calibration: "Calibration | str | Path",
        domain: Domain,
        index: "Callable[[], ItemIndex | None]",
        *,
        any_reading: bool,
    ) -> Self:
        """Take a calibration as it is, or load it from its file."""
        from rella_cpp.scoring.calibration import Calibration

        if isinstance(calibration, Calibration):
            return cls(calibration, domain, index, any_reading=any_reading)
        return cls(Calibration.load(calibration), domain, index, any_reading=any_reading, source=calibration)

    def check(self, settings: Mapping[str, Any], reading: Mapping[str, object] | None = None) -> None:
        """Refuse a scorer or a reading that the calibration was not fitted for.

        Raises
        ------
        InputError
            Naming what differs.

        """
        if not self._any_reading:
            self.calibration.check(settings, reading, source=self._source)

    def calibrated(self, score: Score, behaviors: Sequence[Behavior]) -> Score:
        """Add the calibrated probability. The target's own ratings do not count."""
        identity = self._domain.identity
        target = identity(score.item)
        ratings = [behavior.rating for behavior in behaviors if not identity(behavior.item).same(target)]
        gap = score.gap - (score.empty_gap or 0.0 if self.calibration.contrast else 0.0)
        statistics = self.calibration.statistics(ratings, self._known_id(score.item))
        return replace(score, calibrated=self.calibration.probability(gap, statistics))

    def warn_of_unknown(self, items: Sequence[Item]) -> None:
        """Say which items a blend takes for average ones."""
        unknown = [item for item in items if not self.calibration.knows(self._known_id(item))]
        if unknown:
            logger.warning(
                "the blend does not know %d of %d items and takes them for average ones (the first: %s); "
                "it knows items by the id that they have in its data set, or by an index of it (--index)",
                len(unknown),
                len(items),
                self._domain.show_item(unknown[0])[:60],
            )

    def _known_id(self, item: Item) -> object:
        """Return the id that a blend may know an item by: its own, else that of the same item in the index."""
        known, index = id_text(item.fields.get("id")), self._index()
        if index is None or self.calibration.knows(known):
            return known
        row = index.row(item, self._domain)
        return known if row is None else index.id(row)
