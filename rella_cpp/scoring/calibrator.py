"""Calibrated probabilities for scores: which calibration is in use, and what a blend knows of items."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.finder import FoundNames, Sought
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.errors import InputError
from rella_cpp.scoring.ratings.models import Rated, RatingModels
from rella_cpp.scoring.results import Score
from rella_gguf.lineage import Origin

if TYPE_CHECKING:
    from rella_cpp.retrieval.index.item_index import ItemIndex
    from rella_cpp.scoring.calibration import Calibration, Term

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
    origins
        What the model in use was made from.
    any_reading
        Whether to take scorers and readings that it was not fitted for.
    optional
        Whether to leave it out of scores whose reading it was not fitted for, rather than to refuse them.
    source
        The calibration's file, for messages.

    """

    def __init__(
        self,
        calibration: "Calibration",
        domain: Domain,
        index: "Callable[[], ItemIndex | None]",
        *,
        origins: Sequence[Origin] = (),
        any_reading: bool = False,
        optional: bool = False,
        source: str | Path | None = None,
    ) -> None:
        self.calibration = calibration
        self._domain, self._index = domain, index
        self._origins, self._any_reading, self._source = origins, any_reading, source
        self._optional = optional
        self._found = FoundNames("the blend" if source is None else str(source))

    @classmethod
    def of(
        cls,
        calibration: "Calibration | str | Path",
        domain: Domain,
        index: "Callable[[], ItemIndex | None]",
        *,
        origins: Sequence[Origin],
        any_reading: bool,
        optional: bool,
    ) -> Self:
        """Take a calibration as it is, or load it from its file."""
        from rella_cpp.scoring.calibration import Calibration

        if isinstance(calibration, Calibration):
            return cls(calibration, domain, index, origins=origins, any_reading=any_reading, optional=optional)
        loaded, source = Calibration.load(calibration), calibration
        return cls(loaded, domain, index, origins=origins, any_reading=any_reading, optional=optional, source=source)

    def check(self, settings: Mapping[str, Any], reading: Mapping[str, object] | None = None) -> None:
        """Refuse a scorer or a reading that the calibration was not fitted for.

        Raises
        ------
        InputError
            Naming what differs.

        """
        if not self._any_reading:
            self.calibration.check(settings, reading, origins=self._origins, source=self._source)

    def takes(self, settings: Mapping[str, Any], reading: Mapping[str, object]) -> bool:
        """Tell whether scores of a reading get calibrated probabilities: not of one that it was not fitted for.

        Raises
        ------
        InputError
            It is not optional, and was not fitted for that.

        """
        try:
            self.check(settings, reading)
        except InputError as error:
            if not self._optional:
                raise
            logger.warning("%s: not calibrated, since %s", self._source or "the bundle", error.finding)
            return False
        return True

    def calibrated(self, score: Score, behaviors: Sequence[Behavior]) -> Score:
        """Add the calibrated probability. The target's own ratings do not count."""
        return replace(score, calibrated=self.calibration.probability(*self._said(score, behaviors)))

    def terms(self, score: Score, behaviors: Sequence[Behavior]) -> "tuple[Term, ...]":
        """Return what each feature adds to a score's calibrated logit."""
        return self.calibration.terms(*self._said(score, behaviors))

    def _said(
        self, score: Score, behaviors: Sequence[Behavior]
    ) -> tuple[float, Mapping[str, float] | None, Mapping[str, float] | None]:
        """Return what the model says of a target, its gap and its levels, and what ratings say."""
        identity, calibration = self._domain.identity, self.calibration
        ratings = None
        if calibration.blend:
            target = identity(score.item)
            others = [behavior for behavior in behaviors if not identity(behavior.item).same(target)]
            ratings = calibration.ratings([self._rated(behavior) for behavior in others], self._row(score.item))
        gap = score.gap - (score.empty_gap or 0.0 if calibration.contrast else 0.0)
        return gap, None if score.levels is None else score.levels.as_dict(), ratings

    def tell_found(self, items: Sequence[Item], behaviors: Sequence[Behavior]) -> None:
        """Say how many items a blend knows by name, and which it takes for average ones."""
        if not self.calibration.blend:
            return
        if (models := self.calibration.models) is not None:
            named = [each for each in (*(b.item for b in behaviors), *items) if each.fields.get("id") is None]
            self._found.tell([self._sought(item, models) for item in named])
        if unknown := [item for item in items if self._row(item) is None]:
            logger.warning(
                "the blend does not know %d of %d items and takes them for average ones (the first: %s); "
                "it knows items by the id or the name that they have in its data set, or by an index of it (--index)",
                len(unknown),
                len(items),
                self._domain.show_item(unknown[0])[:60],
            )

    def _rated(self, behavior: Behavior) -> Rated | None:
        return None if behavior.rating is None else Rated(self._row(behavior.item), behavior.rating)

    def _sought(self, item: Item, models: RatingModels) -> Sought:
        name = self._domain.name_item(item)
        return Sought(name, models.meant(name) if self._row(item) is None else [name])

    def _row(self, item: Item) -> int | None:
        """Return an item's row in a blend, by its id, its name, or the id of the same item in the index."""
        models, index = self.calibration.models, self._index()
        if models is None:
            return None
        row = models.row(item.fields.get("id"), self._domain.name_item(item))
        if row is not None or index is None:
            return row
        place = index.row(item, self._domain)
        return None if place is None else models.row(index.id(place))
