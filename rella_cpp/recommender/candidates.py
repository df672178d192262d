"""Candidates for a recommendation: items near what the user liked, different from each other, not seen before."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic, Self, TypeVar

import numpy as np
import numpy.typing as npt

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.finder import Finder
from rella_cpp.domains.inputs import take_history
from rella_cpp.domains.records import Behavior, Item
from rella_cpp.domains.values import id_text, quoted, same_id
from rella_cpp.errors import ContextError, InputError
from rella_cpp.prompts.lengths import LongItem, located_in
from rella_cpp.retrieval.vectors import ItemVectors
from rella_cpp.scoring.results import Likelihood, Score, ranks

if TYPE_CHECKING:
    from rella_cpp.retrieval.index.item_index import ItemIndex

_POOL = 5
"""Items looked at for each candidate wanted."""
_RELEVANCE = 0.7
"""Weight of being near to what was liked, against being unlike the candidates already chosen (MMR)."""
_LIKED = 30
"""The latest liked behaviors that candidates are sought for."""

S = TypeVar("S", Score, Likelihood)


@dataclass(frozen=True, slots=True)
class Recommendation(Generic[S]):
    """A recommended item's score, and the liked behavior that it is near to: its 0-based place and the cosine."""

    score: S
    near: int
    cosine: float

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object: the score's keys, `near` and `cosine`."""
        return {**self.score.as_dict(), "near": self.near, "cosine": self.cosine}


@dataclass(frozen=True, slots=True)
class Candidate:
    """An item to score, and the liked behavior that it is nearest to."""

    item: Item
    near: int
    cosine: float


def liked(behaviors: Sequence[Behavior], domain: Domain) -> list[int]:
    """Return the places of behaviors that were liked (`RatingScale.likes`), or not rated.

    Where none was, all of them: something near to what was disliked is still a better guess than anything.
    """
    scale = domain.rating
    places = [i for i, b in enumerate(behaviors) if b.rating is None or scale is None or scale.likes(b.rating)]
    return places or list(range(len(behaviors)))


def candidates_near(
    vectors: ItemVectors, behaviors: Sequence[Behavior], candidates: int, count: int
) -> list[Candidate]:
    """Find items to score for `count` recommendations; see `find_candidates`.

    Raises
    ------
    InputError
        There is no index, every item of it was seen, or there are fewer candidates than recommendations.

    """
    if vectors.index is None:
        raise InputError("a recommendation needs an index", remedy="use_index(…), or --index DIR")
    if not 1 <= count <= candidates:
        raise InputError(
            f"{count} recommendations of {candidates} candidates", remedy="give at least 1, and as many candidates"
        )
    known = vectors([behavior.item for behavior in behaviors])
    return find_candidates(vectors.index, behaviors, known, vectors.domain, candidates)


def find_candidates(
    index: "ItemIndex",
    behaviors: Sequence[Behavior],
    vectors: npt.NDArray[np.float32],
    domain: Domain,
    count: int,
) -> list[Candidate]:
    """Find items to score.

    Around each of the latest 30 liked behaviors the nearest items are sought; seen ones are left out; of the rest,
    `count` are chosen one by one, each for being near to something liked and unlike those chosen before (maximal
    marginal relevance, Carbonell and Goldstein 1998).

    Parameters
    ----------
    behaviors
        The history, oldest first.
    vectors
        The behaviors' vectors, float32 of shape (n, dim), of unit length; zeros: not known.
    count
        How many candidates, at most.

    Raises
    ------
    InputError
        Every item of the index was seen, or nothing that was liked has a vector.

    """
    seen = [row for behavior in behaviors if (row := index.row(behavior.item, domain)) is not None]
    names = _Names(domain, [behavior.item for behavior in behaviors])
    sources = [place for place in liked(behaviors, domain) if vectors[place].any()][-_LIKED:]
    if not sources:
        finding = "none of what was liked is in the index, and this model cannot embed for it"
        raise InputError(finding, source=index.folder, remedy="add it with the model that made the index")
    each = len(seen) + max(10, count * _POOL // max(1, len(sources)))
    while True:
        found: dict[int, tuple[float, int]] = {}
        for place in sources:
            rows, cosines = index.search(vectors[place], each)
            for row, cosine in zip(rows.tolist(), cosines.tolist(), strict=True):
                if row not in found or cosine > found[row][0]:
                    found[row] = (cosine, place)
        for row in seen:
            found.pop(row, None)
        rows_left = [row for row in sorted(found) if index.item(row) not in names]
        if len(rows_left) >= count or each >= len(index):
            break
        each *= 4
    if not rows_left:
        raise InputError("every item near to the history was seen", source=index.folder, remedy="add items to it")
    relevance = np.array([found[row][0] for row in rows_left])
    chosen = _diverse(index.vectors(rows_left), relevance, count)
    return [
        Candidate(index.item(rows_left[i]), found[rows_left[i]][1], found[rows_left[i]][0]) for i in chosen.tolist()
    ]


class _Names:
    """Items by their name: a history from elsewhere has no ids of the catalog's, and may word titles otherwise.

    Unless both have ids, which then decide.
    """

    def __init__(self, domain: Domain, items: Sequence[Item]) -> None:
        self._domain, self._items = domain, items
        self._finder = Finder([domain.name_item(item) for item in items])

    def __contains__(self, item: Item) -> bool:
        """Tell whether an item is one of them."""
        own = id_text(item.fields.get("id"))
        for row in self._finder.meant(self._domain.name_item(item)):
            its_own = id_text(self._items[row].fields.get("id"))
            if own is None or its_own is None or same_id(own, its_own):
                return True
        return False


def _diverse(vectors: npt.NDArray[np.float32], relevance: npt.NDArray[np.float64], count: int) -> npt.NDArray[np.int64]:
    """Choose rows by maximal marginal relevance; of equal ones the first.

    Examples
    --------
    The first is the most relevant. Of the others the second would be worth 0.7 · 0.8 − 0.3 · 0.96 = 0.27, since it is
    so like the first; the third, less relevant and unlike, 0.7 · 0.6 − 0.3 · 0 = 0.42: it is chosen next.

    >>> vectors = np.array([[1, 0], [0.96, 0.28], [0, 1]], np.float32)
    >>> _diverse(vectors, np.array([0.9, 0.8, 0.6]), 2).tolist()
    [0, 2]

    """
    likeness = np.full(len(vectors), -1.0)
    chosen: list[int] = []
    left = np.ones(len(vectors), bool)
    for _ in range(min(count, len(vectors))):
        worth = _RELEVANCE * relevance - (1 - _RELEVANCE) * (likeness if chosen else 0)
        best = int(np.argmax(np.where(left, worth, -np.inf)))
        chosen.append(best)
        left[best] = False
        likeness = np.maximum(likeness, vectors @ vectors[best])
    return np.array(chosen, np.int64)


@dataclass(frozen=True, slots=True)
class Shortlist:
    """Candidates for one history; `index` is where they are from, for messages."""

    candidates: Sequence[Candidate]
    index: Path
    domain: Domain

    @classmethod
    def of(
        cls, vectors: ItemVectors, history: Sequence[Behavior | Mapping[str, object]], candidates: int, count: int
    ) -> Self:
        """Check a history and find candidates near it; `near` is a behavior's 0-based place in the input.

        Raises
        ------
        InputError, ContextError
            A record does not fit the domain, or an item the context; or see `candidates_near`.

        """
        places, behaviors = zip(*take_history(history, vectors.domain), strict=True)
        try:
            found = candidates_near(vectors, behaviors, candidates, count)
        except LongItem as error:
            raise error.at(f"history[{places[error.number]}]") from None
        assert vectors.index is not None
        placed = [replace(candidate, near=places[candidate.near]) for candidate in found]
        return cls(placed, vectors.index.folder, vectors.domain)

    @property
    def items(self) -> list[Item]:
        """The items to score."""
        return [candidate.item for candidate in self.candidates]

    @contextmanager
    def located(self) -> Iterator[None]:
        """Say of a candidate that is too long which item of the index it is."""
        try:
            yield
        except ContextError as error:
            ids = [item.fields.get("id") for item in self.items]
            names = [
                self.domain.show_item(item) if id is None else id for id, item in zip(ids, self.items, strict=True)
            ]
            places = [f"the item {quoted(name)}" for name in names]
            raise located_in(error, "item", places, str(self.index)) from None

    def best(self, scores: Sequence[S], count: int) -> list[Recommendation[S]]:
        """Return the `count` likeliest of the candidates' scores, the likeliest first."""
        order = sorted(zip(ranks(scores), scores, self.candidates, strict=True), key=lambda entry: entry[0])
        return [Recommendation(score, candidate.near, candidate.cosine) for _, score, candidate in order[:count]]
