"""Examples of DELRec's tasks (arXiv 2406.11156): candidates to choose among, and the one that is right.

Stage 1 tunes a block of input embeddings: on *temporal analysis*, which item came between a history and what is known
to follow; and on *recommendation pattern simulating*, which candidate a sequential recommender puts first. Stage 2
tunes the model on the next item. All come from what trains when each user's last two interactions are left out.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_seed
from rella_cpp.datasets.negatives import MOST, Negatives
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.errors import InputError
from rella_cpp.prompts.choice import Example, write_between, write_choice, write_simulation
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.retrieval.selection import Selection
from rella_cpp.tuning.samples import located
from rella_cpp.tuning.targets import TargetPositions

if TYPE_CHECKING:
    from rella_cpp.datasets.rankings.lists import Rankings

DelrecTask = Literal["temporal", "simulating", "next"]
DELREC_TASKS: tuple[DelrecTask, ...] = get_args(DelrecTask)
"""Temporal analysis and recommendation pattern simulating (stage 1), and the next item (stage 2)."""

_ORDER, _CANDIDATES = 20, 30  # purposes of random numbers, a task's number added
_SHOWN_BEFORE = 3
"""Items before the answer in an example in context."""


@dataclass(frozen=True, slots=True)
class DelrecSettings:
    """What is drawn and shown.

    `rows` training targets are drawn with `seed` for each task; the first hundred of more are those of fewer. A prompt
    shows the `k` latest behaviors and `candidates` items to choose among: the target, and others never touched.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    rows: int = 256
    k: int = 30
    candidates: int = 15
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        if self.rows < 1:
            raise InputError(f"rows is {self.rows}", remedy="give at least 1 row (--rows 256)")
        Selection(self.k, "recent", "time")
        if not 2 <= self.candidates <= MOST:
            raise InputError(f"candidates is {self.candidates}", remedy=f"give 2 to {MOST:,} (--candidates 15)")
        check_seed(self.seed)


@dataclass(frozen=True, slots=True)
class DelrecExample:
    """One prompt with its answer.

    `user` and `item` (the answer's) are ids, as are `candidates`, in the order shown; `position` is that of the target
    among the user's interactions.
    """

    user: str
    position: int
    item: str
    task: DelrecTask
    candidates: tuple[str, ...]
    answer: str
    text: PromptText

    @property
    def place(self) -> str:
        """Where it comes from, for messages."""
        return f"user {self.user}, position {self.position}"

    @property
    def label(self) -> None:
        """No yes or no is asked."""
        return None

    @property
    def facts(self) -> dict[str, object]:
        """What its row says besides the prompt, as JSON."""
        return {"user": self.user, "position": self.position, "item": self.item, "task": self.task}


class DelrecExamples:
    """Reads a data set's interactions as prompts of one task.

    Parameters
    ----------
    data, domain
        The interactions, and the words for them.
    task
        What is asked: one of `DELREC_TASKS`.
    settings
        What is drawn and shown.
    rankings
        What a sequential recommender expects; the task `simulating` needs them.

    Attributes
    ----------
    left_out
        Training positions passed over so far: the recommender lists none of their candidates.

    Raises
    ------
    InputError
        There is no such task, there are no rankings where they are needed, they are of other data or have no training
        positions, or there are fewer targets than rows.

    """

    def __init__(
        self,
        data: DataSet,
        domain: Domain,
        task: DelrecTask,
        settings: DelrecSettings,
        rankings: "Rankings | None" = None,
    ) -> None:
        if task not in DELREC_TASKS:
            raise InputError(f"task is {task!r}", remedy=f"one of {', '.join(DELREC_TASKS)}")
        self.data, self.domain, self.task, self.settings = data, domain, task, settings
        self._number = DELREC_TASKS.index(task)
        self._rankings = self._checked(rankings)
        self._negatives = Negatives(data)
        self.left_out = 0
        self._training = self._listed(TargetPositions.to_train(data, followed=task == "temporal"))
        if self._rankings is not None and not len(self._training):
            raise InputError(
                "has no list at a position that trains",
                source=self._rankings.folder,
                remedy="write training positions: --train-positions",
            )
        if len(self._training) < settings.rows:
            raise self._too_few(len(self._training))

    @property
    def rows(self) -> int:
        """How many training examples there are."""
        return self.settings.rows

    @property
    def folders(self) -> list[Path]:
        """The folders that are read."""
        return [self.data.folder, *([] if self._rankings is None else [self._rankings.folder])]

    def facts(self, valid: int) -> dict[str, object]:
        """Return what the examples come from besides the data, as JSON, for `valid` validation rows."""
        domain, known = self.domain, self._rankings
        return {
            "domain": {
                "name": domain.name,
                "fingerprint": domain.fingerprint,
                "choice": domain.choice_fingerprint,
            },
            "task": self.task,
            "samples": asdict(self.settings) | {"valid": valid},
            "ranking": None if known is None else {"name": known.name, "fingerprint": known.fingerprint},
        }

    def training(self) -> Iterator[DelrecExample]:
        """Yield the training examples, in the order drawn.

        Raises
        ------
        InputError
            A record does not fit the domain, a user touched too many items, or the recommender's lists hold candidates
            at fewer positions than rows.

        """
        self.left_out = found = 0
        for user, position in self._training.drawn(self.settings.seed, _ORDER + self._number):
            example = self._read(user, position)
            if example is None:
                self.left_out += 1
                continue
            yield example
            found += 1
            if found == self.rows:
                return
        raise self._too_few(found)

    def validation(self, count: int) -> Iterator[DelrecExample]:
        """Yield the examples of `count` targets of the validation split, or of all if there are fewer."""
        places = self._listed(TargetPositions.to_validate(self.data, followed=self.task == "temporal"))
        found = 0
        for user, position in places.drawn(self.settings.seed, _ORDER + self._number) if count else ():
            example = self._read(user, position)
            if example is not None:
                yield example
                found += 1
            if found == count:
                return

    def _checked(self, rankings: "Rankings | None") -> "Rankings | None":
        """Return the rankings, if the task reads them."""
        if rankings is not None:
            rankings.check(self.data)
        if self.task != "simulating":
            return None
        if rankings is None:
            raise InputError(
                "the task simulating needs what a sequential recommender expects",
                remedy="give --ranking DIR (rella data import-ranking), or another --task",
            )
        return rankings

    def _listed(self, places: TargetPositions) -> TargetPositions:
        known = self._rankings
        return places if known is None else places.listed(known.users, known.positions)

    def _too_few(self, found: int) -> InputError:
        source = self.data if self._rankings is None else self._rankings
        return InputError(
            f"has {found:,} positions to train the task {self.task} on, {self.rows:,} are wanted",
            source=source.folder,
            remedy=f"ask for --rows {found} at most" if found else "give users with 5 interactions or more",
        )

    def _read(self, user: int, position: int) -> DelrecExample | None:
        """Read a target as a prompt; None where the recommender lists none of the candidates."""
        data, start = self.data, int(self.data.interactions.starts[user])
        item = int(data.interactions.item[start + position])
        with located(data.folder, f"user {data.user_id(user)}, position {position}"):
            candidates = self._candidates(user, position, item)
            answer = self._answer(user, position, item, candidates)
            if answer is None:
                return None
            text = self._write(user, position, item, [data.item(number) for number in candidates.tolist()])
            name = self.domain.name_item(data.item(answer))
        shown = tuple(map(data.item_id, candidates.tolist()))
        return DelrecExample(data.user_id(user), position, data.item_id(answer), self.task, shown, name, text)

    def _candidates(self, user: int, position: int, item: int) -> npt.NDArray[np.int64]:
        """Draw what to choose among, the target's place too; it depends on seed, task, user and position alone."""
        wanted = self.settings.candidates
        random = np.random.default_rng([self.settings.seed, _CANDIDATES + self._number, user, position])
        try:
            drawn = self._negatives.draw(user, wanted - 1, random)
        except InputError as error:
            raise InputError(error.finding, source=error.source, remedy="ask for fewer --candidates") from None
        return random.permutation(np.append(drawn, item))

    def _answer(self, user: int, position: int, item: int, candidates: npt.NDArray[np.int64]) -> int | None:
        """Return the item that is right; None where there is none."""
        if self._rankings is None:
            return item
        ranking = self._rankings.find(user, position)
        listed = [] if ranking is None else ranking.items[np.isin(ranking.items, candidates)].tolist()
        return int(listed[0]) if listed else None

    def _write(self, user: int, position: int, item: int, candidates: Sequence[Item]) -> PromptText:
        data, start = self.data, int(self.data.interactions.starts[user])
        others = start + np.flatnonzero(data.interactions.item[start : start + position] != item)
        person, behaviors = data.user(user), data.behaviors(others[-self.settings.k :])
        if self.task == "temporal":
            after = data.item(int(data.interactions.item[start + position + 1]))
            return write_between(self.domain, person, behaviors, candidates, after, self._in_context(others))
        write = write_choice if self.task == "next" else write_simulation
        return write(self.domain, person, behaviors, candidates)

    def _in_context(self, others: npt.NDArray[np.int64]) -> Example | None:
        """Make an example of the latest behaviors before the target; None of fewer than three."""
        if len(others) <= 2:
            return None
        items = [behavior.item for behavior in self.data.behaviors(others[-_SHOWN_BEFORE - 2 :])]
        *before, answer, after = items
        return Example(tuple(before), after, answer)
