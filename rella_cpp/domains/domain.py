"""The parts of a domain, and what a domain says of an item, a behavior and a user."""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, get_args

from rella_cpp.domains.field_names import missing_field
from rella_cpp.domains.rating import RatingScale
from rella_cpp.domains.records import Behavior, Item, User
from rella_cpp.domains.stream import AVERAGE, StreamWords, level_faults
from rella_cpp.domains.values import as_whole, describe, encodable, id_text, is_absent, is_missing, quoted, same_id
from rella_cpp.domains.wording import SummaryWords, Templates
from rella_cpp.errors import InputError, refuse
from rella_cpp.storage.artifacts import digest

FieldType = Literal["text", "value", "list"]

# Line breaks and control characters of every kind, and what marks places in templates: a title must stay one line, and
# data, whoever wrote it.
_BLANK = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff\uf8f0\uf8f1\U000e0000-\U000e007f]+"
)
_OF_SUMMARIES = ("preference", "block", "update", "merge")  # templates
_OF_CHOICES = ("choice", "simulate", "between")  # templates
_LONGEST_WORD = 4000
"""Characters without a blank in a field: some tokenizers of llama.cpp crash on runs of 26,000."""


def flatten(text: str) -> str:
    """Make one line of a text: runs of blanks, line breaks and control characters become one blank."""
    return _BLANK.sub(" ", encodable(text)).strip()


@dataclass(frozen=True, slots=True)
class Field:
    """One field of an item or a user that prompts show.

    `show` is the text in a prompt, with `{}` for the value. `type` is `text`, `value` (text or a number; 1991.0 is
    1991) or `list` (several texts, shown with commas; one text is taken as it is). `label` names the field in an item's
    own text.
    A `long` one (a plot, a product's description) is shown where a preference summary takes part, and nowhere else.
    A `naming` one belongs to the item's name, as the required ones do: what tells it from others in a list.
    """

    name: str
    show: str = "{}"
    type: FieldType = "text"
    required: bool = False
    label: str = ""
    long: bool = False
    naming: bool = False

    def __post_init__(self) -> None:
        """Refuse a field that could not be shown."""
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        if self.type not in get_args(FieldType):
            yield InputError(f"type is {quoted(self.type)}", remedy=f"one of {', '.join(get_args(FieldType))}")
        if self.show.count("{}") != 1:
            yield InputError(f"show is {quoted(self.show)}", remedy="it needs {} once, where the value stands")
        if self.long and self.required:
            yield InputError("a long field is required", remedy="require one that every prompt shows, such as title")
        if self.long and self.naming:
            yield InputError("a long field names the item", remedy="let a short one name it, such as title or year")

    def text_of(self, value: object) -> str:
        """Return the value as one line of text; empty where nothing is left of it.

        Raises
        ------
        InputError
            The value is not of this field's type.

        """
        if self.type == "list" and isinstance(value, list | tuple):
            parts = (self._single(entry, "value") for entry in value if not is_missing(entry))
            return ", ".join(part for part in parts if part)
        if self.type == "value":
            value = "" if is_absent(value) else value
            return as_whole(self._single(value, "value"))
        return "" if is_missing(value) else self._single(value, self.type)

    def _single(self, value: object, wanted: FieldType) -> str:
        if isinstance(value, str):
            text = flatten(value)
            if len(text) > _LONGEST_WORD and (longest := max(map(len, text.split()))) > _LONGEST_WORD:
                raise InputError(
                    f"field {self.name} has {longest} characters without a blank",
                    remedy=f"give at most {_LONGEST_WORD}",
                )
            return text
        if wanted == "value" and isinstance(value, int | float) and not isinstance(value, bool):
            return str(value) if isinstance(value, int) else f"{value:.12g}"
        remedy = {
            "text": "write it as text, in quotes",
            "value": "give text or a number",
            "list": "give a list of texts",
        }[self.type]
        raise InputError(f"field {self.name} is {describe(value)}", remedy=remedy)


@dataclass(frozen=True, slots=True)
class Identity:
    """What tells an item from others; see `Domain.identity`."""

    id: str | None
    shown: str

    def same(self, other: "Identity") -> bool:
        """Tell whether two items are the same: by their ids where both have one, else as prompts show them."""
        if self.id is not None and other.id is not None:
            return same_id(self.id, other.id)
        return self.shown == other.shown


@dataclass(frozen=True, slots=True)
class Domain:
    """What a prompt needs to know of a kind of items.

    `verb` is what users did with them (past tense), `answers` the positive and the negative answer. Without `summary`
    no preference summaries can be written, without `stream` no streams.
    """

    name: str
    noun: str
    plural: str
    verb: str
    system: str
    question: str
    item: tuple[Field, ...]
    user: tuple[Field, ...] = ()
    rating: RatingScale | None = None
    answers: tuple[str, str] = ("Yes", "No")
    templates: Templates = field(default_factory=Templates)
    summary: SummaryWords | None = None
    stream: StreamWords | None = None

    def __post_init__(self) -> None:
        """Refuse a domain whose items could be shown with nothing, or that has not two answers."""
        refuse(self._faults())

    def _faults(self) -> Iterator[InputError]:
        if not any(entry.required for entry in self.item):
            yield InputError("no field of an item is required", remedy="add required = true to one, such as title")
        answers = self.answers
        if (
            not isinstance(answers, tuple)
            or len(answers) != 2
            or not all(isinstance(a, str) and a.strip() for a in answers)
        ):
            shown = list(answers) if isinstance(answers, tuple) else answers
            yield InputError(f"answers is {describe(shown)}", remedy='give two texts, such as ["Yes", "No"]')
        elif answers[0].strip() == answers[1].strip():
            yield InputError(f"both answers are {quoted(answers[0])}", remedy='give two that differ: ["Yes", "No"]')
        if self.stream is not None:
            yield from self._stream_faults(self.stream)

    def _stream_faults(self, words: StreamWords) -> Iterator[InputError]:
        known = [entry.name for entry in self.item if not entry.long]
        if not any(entry.name == AVERAGE for entry in self.item):
            known.append(AVERAGE)
        for name in words.fields:
            if name not in known:
                yield InputError(f"the stream's fields name {quoted(name)}", remedy=f"some of {', '.join(known)}")
        if not any(entry.required and entry.name in words.fields for entry in self.item):
            yield InputError("a stream's lines show no required field", remedy="add one to fields, such as title")
        if self.rating is None:
            yield InputError("a domain with a stream has no ratings", remedy="add [rating], or leave [stream] out")
            return
        yield from level_faults(words.levels, self.rating)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what yes-no prompts take from this domain; its name, summaries and choices are left out."""
        own = {key: value for key, value in asdict(self).items() if key not in ("name", "summary", "stream")}
        others = (*_OF_SUMMARIES, *_OF_CHOICES)
        own["templates"] = {key: value for key, value in own["templates"].items() if key not in others}
        return digest(own | {"item": _short(self.item), "user": _short(self.user)})

    @property
    def item_fingerprint(self) -> str:
        """SHA-256 of what an item's own text, the one that is embedded, takes from this domain."""
        return digest([self.noun, _short(self.item), self.templates.item])

    @property
    def summary_fingerprint(self) -> str:
        """SHA-256 of all that summaries, and the prompts that show them, take from this domain."""
        words = None if self.summary is None else asdict(self.summary)
        own = {name: getattr(self.templates, name) for name in _OF_SUMMARIES}
        return digest([self.fingerprint, words, own, _facts(entry for entry in self.item if entry.long)])

    @property
    def choice_fingerprint(self) -> str:
        """SHA-256 of all that prompts with candidates to choose among take from this domain."""
        own = {name: getattr(self.templates, name) for name in _OF_CHOICES}
        return digest([self.fingerprint, own, [entry.name for entry in self.item if entry.naming]])

    @property
    def stream_fingerprint(self) -> str:
        """SHA-256 of all that streams take from this domain."""
        shown = () if self.stream is None else self.stream.fields
        own = [asdict(each) for each in self.item if each.name in shown]
        scale = None if self.rating is None else asdict(self.rating)
        words = None if self.stream is None else asdict(self.stream)
        return digest([words, scale, own, _facts(self.user)])

    def liked_levels(self, words: StreamWords) -> tuple[bool, ...]:
        """Tell of each of a stream's levels whether it says that an item was liked."""
        return tuple(self.rating is not None and self.rating.likes(level.rating) for level in words.levels)

    def stream_words(self) -> StreamWords:
        """Return how streams are written.

        Raises
        ------
        InputError
            The domain does not say it.

        """
        if self.stream is None:
            raise InputError(
                f"the domain {self.name} does not say how a stream is written",
                remedy="add [stream] to its file, as rella domains movies shows it"
                if self.rating is not None
                else "take --layout question: a stream is a list of ratings",
            )
        return self.stream

    @property
    def reads_averages(self) -> bool:
        """Whether `average` is an item's mean rating: streams show it, and it is no field of the domain's own."""
        shown = self.stream is not None and AVERAGE in self.stream.fields
        return shown and not any(entry.name == AVERAGE for entry in self.item)

    def average_of(self, record: Item | Behavior) -> float | None:
        """Return an item's mean rating, of a behavior as it was known then; None where it is not known, or not read.

        Raises
        ------
        InputError
            It is no number.

        """
        if not self.reads_averages:
            return None
        own = record.average if isinstance(record, Behavior) else None
        return (record.item if isinstance(record, Behavior) else record).average if own is None else own

    def item_fields(self, item: Item) -> dict[str, str]:
        """Return the shown fields of an item that it has, by name, each as one line of text.

        Raises
        ------
        InputError
            A required field is missing or empty, or a field is of the wrong type.

        """
        fields = _texts(self.item, item.fields)
        for entry in self.item:
            if entry.required and entry.name not in fields:
                names = [known.name for known in self.item]
                raise missing_field(entry.name, item.fields, names, f'give every {self.noun} a "{entry.name}"')
        return fields

    def show_item(self, item: Item, *, long: bool = False) -> str:
        """Return the item as a prompt shows it, on one line; its long fields behind the others, if `long`.

        A long text without a letter or a digit (`.`, as some catalogs have it) is left out.
        """
        fields = self.item_fields(item)
        shown = [entry for entry in self.item if not entry.long]
        if long:
            told = {name for name, text in fields.items() if any(map(str.isalnum, text))}
            shown += [entry for entry in self.item if entry.long and entry.name in told]
        return "".join(e.show.replace("{}", fields[e.name]) for e in shown if e.name in fields).strip()

    def name_item(self, item: Item) -> str:
        """Return the item's name, on one line: what a list of candidates shows, and a model answers."""
        fields = self.item_fields(item)
        named = (entry for entry in self.item if (entry.required or entry.naming) and entry.name in fields)
        return "".join(entry.show.replace("{}", fields[entry.name]) for entry in named).strip()

    def stream_item(self, item: Item, average: float | None) -> str:
        """Return the item as a stream's line shows it, with its mean rating where that is known and shown."""
        words, texts = self.stream_words(), self.item_fields(item)
        shows = {entry.name: entry.show for entry in self.item}
        if self.reads_averages:
            shows[AVERAGE] = words.average
            if average is not None:
                texts[AVERAGE] = f"{average:.1f}"
        return "".join(shows[name].replace("{}", texts[name]) for name in words.fields if name in texts).strip()

    def unshown(self, items: Iterable[Item], *, long: bool = False, stream: bool = False) -> tuple[str, ...]:
        """Return the names of fields that items have and prompts never show, but for `id`; sorted.

        `long` says that the prompts show long fields too, `stream` that they are streams, which may show an average.
        """
        shown = {"id", *(entry.name for entry in self.item if long or not entry.long)}
        if stream and self.stream is not None:
            shown.update(self.stream.fields)
        return tuple(sorted({name for item in items for name in item.fields} - shown))

    def user_fields(self, user: User) -> dict[str, str]:
        """Return the shown fields of a user that are known, by name, each as one line of text."""
        return _texts(self.user, user.fields)

    def check_item(self, item: Item) -> None:
        """Check an item's fields, and its mean rating where streams show it.

        Raises
        ------
        InputError
            See `item_fields`; or its mean rating is no number, or lies outside the scale.

        """
        self.item_fields(item)
        self._check_average(item)

    def check_behavior(self, behavior: Behavior) -> None:
        """Check a behavior's item, mean ratings and rating.

        Raises
        ------
        InputError
            See `check_item`; or the rating lies outside the scale, or the domain has none.

        """
        self.check_item(behavior.item)
        self._check_average(behavior)
        rating = behavior.rating
        if rating is None:
            return
        if self.rating is None:
            found = f"rating is '{rating:.12g}', but the domain {self.name} has no ratings"
            raise InputError(found, remedy="leave it out")
        self.rating.check("rating", rating, self.name)

    def _check_average(self, record: Item | Behavior) -> None:
        if self.rating is not None and (average := self.average_of(record)) is not None:
            self.rating.check(AVERAGE, average, self.name, remedy="bring it to that scale, or leave it out")

    def identity(self, item: Item) -> "Identity":
        """Return what tells an item from others: its `id`, if it has one, and how prompts show it."""
        return Identity(id_text(item.fields.get("id")), self.show_item(item))


def _short(fields: tuple[Field, ...]) -> list[dict[str, object]]:
    """Return the fields that every prompt shows, as they stood in fingerprints before there were long ones."""
    return [{k: v for k, v in facts.items() if k != "long"} for facts in _facts(e for e in fields if not e.long)]


def _facts(fields: Iterable[Field]) -> list[dict[str, object]]:
    """Return fields as they stood in fingerprints before there were naming ones."""
    return [{key: value for key, value in asdict(entry).items() if key != "naming"} for entry in fields]


def _texts(fields: tuple[Field, ...], values: Mapping[str, object]) -> dict[str, str]:
    texts = {f.name: f.text_of(values[f.name]) for f in fields if values.get(f.name) is not None}
    return {name: text for name, text in texts.items() if text}
