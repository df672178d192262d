"""Training sequences: whole windows of users' histories as streams, each rating of which is a label.

DTI (arXiv 2503.01001) puts many targets into one sequence; here every line of a history is one. A prompt at run time is
the beginning of such a sequence.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.drawing import check_seed
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stream import AVERAGE
from rella_cpp.errors import ContextError, InputError
from rella_cpp.prompts.streams.frame import StreamFrame
from rella_cpp.prompts.streams.text import Line, Unshown, write_stream
from rella_cpp.retrieval.samples import Histories
from rella_cpp.retrieval.selection import Selection
from rella_cpp.tuning.samples import located
from rella_cpp.tuning.windows import FEWEST, TrainingWindows

if TYPE_CHECKING:
    from rella_cpp.recommender.rella import Rella

_IN_A_ROW = 20
"""Validation samples of one user, at most: so few windows hold many."""
_OF_VALIDATION = 2  # draws with this beside the seed; 0 and 1 are the passes of training


@dataclass(frozen=True, slots=True)
class SequenceSettings:
    """Which sequences are written.

    Attributes
    ----------
    k
        Sequences have up to 2K lines, as anchored windows of that K.
    tokens
        Stop when the training sequences have so many tokens; None: each rating of the training split once, but for one
        that would stand alone at a user's end (`alone`), and what comes after a user's first rating of another split.
    drop
        How likely a training sequence goes without its averages, without the profile, and without each field that an
        item need not have; each by itself.
    seed
        Of the order, of what is dropped, and of the validation samples.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    k: int = 12
    tokens: int | None = None
    drop: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        """Check every value."""
        _ = self.selection
        check_seed(self.seed)
        if self.tokens is not None and self.tokens < 1:
            raise InputError(f"tokens is {self.tokens}", remedy="give at least 1, or leave it out (--tokens 200000)")
        if not 0 <= self.drop <= 1:
            raise InputError(f"drop is {self.drop:g}", remedy="give a share from 0 to 1 (--drop 0.3)")

    @property
    def selection(self) -> Selection:
        """Which behaviors a stream shows at run time."""
        return Selection(self.k, "recent", "time", allow_empty_history=True, window="anchored")


@dataclass(frozen=True, slots=True)
class SequenceExample:
    """A stream with the ratings of some lines as answers.

    Attributes
    ----------
    user
        The user's id.
    first
        How many rated behaviors stand before the first line.
    header, lines
        Its text.
    levels
        For each line the index of its level.
    samples
        By line, the number of the data set's sample that it is; -1 where it is none.
    answered
        The lines whose ratings are answers, ascending.
    validates
        Whether these are samples to check a model with; else it trains.

    """

    user: str
    first: int
    header: str
    lines: tuple[Line, ...]
    levels: tuple[int, ...]
    samples: tuple[int, ...]
    answered: tuple[int, ...]
    validates: bool

    @property
    def place(self) -> str:
        """Where it comes from, for messages."""
        return f"user {self.user}, from rating {self.first + 1} on"

    @property
    def label(self) -> None:
        """None: it has many answers."""
        return None

    @property
    def text(self) -> tuple[str, tuple[Line, ...]]:
        """Header and lines."""
        return self.header, self.lines

    @property
    def facts(self) -> Mapping[str, object]:
        """What its rows say besides, as JSON."""
        return {"user": self.user, "first": self.first}


@dataclass(slots=True)
class SequenceCounts:
    """What was written: training sequences, their answers and tokens (0 where none are counted), validation samples."""

    sequences: int = 0
    answers: int = 0
    tokens: int = 0
    valid: int = 0


class StreamSequences:
    """Reads a data set's histories as sequences to train on.

    A row has `user`, `first` (how many rated behaviors stand before it), and `messages`, or `text` and `answers`: of
    each rating the characters where it starts and ends, its `level` among the manifest's, its `label` and, where it is
    one, the `sample`. Training rows have every rating as an answer, validation rows those of the samples drawn; as
    `messages` each of these ends in one.

    Parameters
    ----------
    data, domain
        The histories, and the words for them.
    histories
        Chooses the behaviors before validation samples.
    settings
        Which sequences are read.
    judge
        A model with the layout `stream`: its tokens are counted, and its chat frame, if it was loaded with one by name,
        is written. Only a number of tokens needs it.

    Attributes
    ----------
    counts
        What was written so far.
    unrated
        Behaviors of the training split that have no rating, and are left out.
    alone
        Rated ones that are left out because they would be a sequence's only line.

    Raises
    ------
    InputError
        The data has no ratings or nothing to train on, the domain does not say how a stream is written, tokens are to
        be counted without a judge, or the judge's layout is another.

    """

    def __init__(
        self,
        data: DataSet,
        histories: Histories,
        domain: Domain,
        settings: SequenceSettings,
        judge: "Rella | None" = None,
    ) -> None:
        data.check_stream(domain)
        if judge is not None and judge.prompts.layout != "stream":
            raise InputError(f"the model's layout is {judge.prompts.layout}", remedy="load it with the layout stream")
        if settings.tokens is not None and judge is None:
            raise InputError("tokens are counted by a model's tokenizer", remedy="name the model: --model GGUF")
        self.data, self.histories, self.domain, self.settings = data, histories, domain, settings
        self._averages = data.interactions.average is not None and domain.reads_averages
        self._judge, self.counts, self._framed = judge, SequenceCounts(), False
        self._frame = StreamFrame(domain) if judge is None else judge.prompts.stream_frame
        self._windows = TrainingWindows.of(data)
        self.unrated = self._windows.unrated
        k, seed = settings.k, settings.seed
        self.alone = self._windows.alone(k)
        passes = (0,) if settings.tokens is None else (0, k)
        self._drawn = np.concatenate([self._windows.drawn(k, at, (seed, n)) for n, at in enumerate(passes)])
        if not len(self._drawn):
            finding = f"no user has {FEWEST} ratings of the split train before the first of another split"
            raise InputError(finding, source=data.folder, remedy="take other data, or prepare it with later splits")
        self._sample_of = np.full(len(data.interactions.item), -1, np.int64)
        places = data.interactions.starts[data.samples.user] + data.samples.position
        self._sample_of[places] = np.arange(len(places))

    @property
    def rows(self) -> int:
        """How many training sequences there are, or at most may be written."""
        return len(self._drawn)

    @property
    def folders(self) -> list[Path]:
        """The folders that are read."""
        return [self.data.folder]

    def facts(self, valid: int) -> dict[str, object]:
        """Return what the sequences come from besides the data, as JSON, for `valid` validation rows."""
        words, judge, counts = self.domain.stream_words(), self._judge, self.counts
        levels = zip(words.levels, self.domain.liked_levels(words), strict=True)
        written = {"rows": counts.sequences, "answers": counts.answers, "written": counts.tokens or None}
        return {
            "domain": {"name": self.domain.name, "fingerprint": self.domain.stream_fingerprint},
            "layout": "stream",
            "averages": self._averages and not self.settings.drop,
            "levels": [{"label": level.label, "liked": likes, "value": level.rating} for level, likes in levels],
            "samples": asdict(self.settings) | written | {"valid": counts.valid, "valid_rows": valid},
            "chat_format": judge.prompts.chat_format if judge is not None and self._framed else None,
            "model": None if judge is None else judge.model.as_dict(),
        }

    def writer(self, form: str) -> Callable[[SequenceExample], list[dict[str, Any]]]:
        """Return the function that turns a sequence into the rows of a form: `text`, else `messages`."""
        self._framed = form == "text" and self._frame.turns is not None
        return self._as_text if form == "text" else self._as_messages

    def training(self) -> Iterator[SequenceExample]:
        """Yield the training sequences: windows that share no line, in an order drawn; then those between them.

        Raises
        ------
        InputError
            A record does not fit the domain.
        ContextError
            A sequence is longer than the judge's context.

        """
        self.counts, limit = SequenceCounts(), self.settings.tokens
        for user, first in self._drawn.tolist():
            if limit is not None and self.counts.tokens >= limit:
                return
            example = self._sequence(user, first)
            self._count(example)
            yield example

    def validation(self, count: int) -> Iterator[SequenceExample]:
        """Yield the sequences of `count` validation samples, of which up to 20 are of one user, in a row.

        A sequence has all those of them whose prompts begin alike.
        """
        for user, rows in self._validation_samples(count):
            alike: list[int] = []
            lines: npt.NDArray[np.int64] = np.zeros(0, np.int64)
            before = Unshown()
            for row in rows:
                shown, unshown = self.histories.stream(row, self.settings.selection)
                own = np.append(shown, self.data.samples.position[row])
                if alike and not (unshown == before and np.array_equal(own[: len(lines)], lines)):
                    yield self._judged(user, lines, before, alike)
                    alike = []
                alike.append(row)
                lines, before = own, unshown
            if alike:
                yield self._judged(user, lines, before, alike)

    def _sequence(self, number: int, first: int) -> SequenceExample:
        """Write one training sequence, without what is dropped."""
        rows, user = self._windows.lines(number, first, 2 * self.settings.k), self.data.user(number)
        behaviors, dropped = self.data.behaviors(rows), self._dropped(number, first)
        if dropped:
            behaviors = [_without(behavior, dropped) for behavior in behaviors]
            user = User() if "profile" in dropped else user
        unshown = self._windows.before(number, first)
        example = self._written(number, user, behaviors, unshown, rows)
        return replace(example, first=first)

    def _judged(
        self, number: int, positions: npt.NDArray[np.int64], unshown: Unshown, samples: Sequence[int]
    ) -> SequenceExample:
        """Write the sequence of validation samples that begin alike; the last one's item is the last line."""
        rows = self.histories.start(samples[0]) + positions
        example = self._written(number, self.data.user(number), self.data.behaviors(rows), unshown, rows)
        answered = tuple(line for line, sample in enumerate(example.samples) if sample in samples)
        earlier = self.data.interactions.ratings()[rows[0] - positions[0] : rows[0]]
        return replace(example, first=int((~np.isnan(earlier)).sum()), answered=answered, validates=True)

    def _written(
        self,
        number: int,
        user: User,
        behaviors: Sequence[Behavior],
        unshown: Unshown,
        rows: npt.NDArray[np.int64],
    ) -> SequenceExample:
        """Write behaviors, interactions by row, as a sequence of which every line is an answer."""
        words, name = self.domain.stream_words(), self.data.user_id(number)
        *before, last = behaviors
        target = last.item if last.average is None else Item({**last.item.fields, AVERAGE: last.average})
        with located(self.data.folder, f"user {name}"):
            text = write_stream(self.domain, user, before, target, unshown)
        levels = tuple(words.level_of(float(behavior.rating or 0)) for behavior in behaviors)
        lines = (*text.lines, Line(text.target, words.levels[levels[-1]].label))
        samples, answered = tuple(self._sample_of[rows].tolist()), tuple(range(len(lines)))
        return SequenceExample(name, unshown.count, text.header, lines, levels, samples, answered, validates=False)

    def _dropped(self, user: int, first: int) -> frozenset[str]:
        """Draw what a training sequence goes without."""
        if not self.settings.drop:
            return frozenset()
        required = {entry.name for entry in self.domain.item if entry.required}
        names = ["profile", *(name for name in self.domain.stream_words().fields if name not in required)]
        chances = np.random.default_rng([self.settings.seed, user, first]).random(len(names))
        return frozenset(name for name, chance in zip(names, chances, strict=True) if chance < self.settings.drop)

    def _validation_samples(self, count: int) -> Iterator[tuple[int, list[int]]]:
        """Draw users, and yield the first rated validation samples of each, until there are enough."""
        samples, known = self.data.samples, self.data.interactions
        rows = samples.rows("valid")
        rated = ~np.isnan(known.ratings()[known.starts[samples.user[rows]] + samples.position[rows]])
        rows = rows[rated]
        users, starts = np.unique(samples.user[rows], return_index=True)
        ends = np.append(starts[1:], len(rows))
        for place in np.random.default_rng([self.settings.seed, _OF_VALIDATION]).permutation(len(users)).tolist():
            if count <= 0:
                return
            own = rows[starts[place] : ends[place]][: min(count, _IN_A_ROW)].tolist()
            count -= len(own)
            yield int(users[place]), own

    def _count(self, example: SequenceExample) -> None:
        self.counts.sequences += 1
        self.counts.answers += len(example.answered)
        if self._judge is None:
            return
        tokens = len(self._judge.engine.encode(self._frame.answered(example.header, example.lines).spans).tokens)
        if tokens > self._judge.engine.n_ctx:
            finding = f"a sequence of {tokens} tokens does not fit the context of {self._judge.engine.n_ctx}"
            raise ContextError(finding, remedy="raise --ctx, or show fewer behaviors (-k)").located(
                self.data.folder, example.place
            )
        self.counts.tokens += tokens

    def _as_text(self, example: SequenceExample) -> list[dict[str, Any]]:
        whole = self._frame.answered(example.header, example.lines)
        self.counts.valid += len(example.answered) * example.validates
        answers = []
        for line in example.answered:
            start, end = whole.labels[line]
            answers.append({"start": start, "end": end, **self._answer(example, line)})
        return [{"text": whole.text, "answers": answers}]

    def _as_messages(self, example: SequenceExample) -> list[dict[str, Any]]:
        messages: list[dict[str, str]] = []
        for said, label in self._frame.turns_of(example.header, example.lines):
            messages += [{"role": "user", "content": said}, {"role": "assistant", "content": label}]
        if not example.validates:
            return [{"messages": messages}]
        self.counts.valid += len(example.answered)
        return [{"messages": messages[: 2 * line + 2], **self._answer(example, line)} for line in example.answered]

    def _answer(self, example: SequenceExample, line: int) -> dict[str, int]:
        """Say what a line's rating is: its level, whether it says that the item was liked, and its sample."""
        level, sample = example.levels[line], example.samples[line]
        liked = self.domain.liked_levels(self.domain.stream_words())[level]
        return {"level": level, "label": int(liked)} | ({"sample": sample} if sample >= 0 else {})


def _without(behavior: Behavior, dropped: frozenset[str]) -> Behavior:
    """Return a behavior without some fields of its item."""
    fields = {name: value for name, value in behavior.item.fields.items() if name not in dropped}
    return replace(behavior, item=Item(fields), average=None if AVERAGE in dropped else behavior.average)
