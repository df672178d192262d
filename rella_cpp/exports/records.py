"""Rows of an export as behaviors or items of a domain; what is not taken is counted."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from rella_cpp.datasets.formats.titles import split_title
from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import Entry
from rella_cpp.domains.rating import RatingScale
from rella_cpp.domains.stream import AVERAGE
from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError
from rella_cpp.exports.cells import is_episode, list_of, pattern_of, read_date, read_rating, type_words
from rella_cpp.exports.formats import DATES_TAKEN, Format, key

Purpose = Literal["history", "items"]
_ALONE = "1"
"""The user of a file that one person has."""


@dataclass(frozen=True, slots=True)
class Row:
    """A row: where it stands, and its cells by the key of their column; or what is wrong with it."""

    place: str
    cells: Mapping[str, str] = field(default_factory=dict)
    broken: str = ""


@dataclass(slots=True)
class Taken:
    """What was taken of a file: its entries, how many rows there were, what was left out and why, what is to be said.

    `left_out` has for each reason how many rows it concerns, and the first of them; `others` is how many were left out
    because they are no films.
    """

    rows: int = 0
    others: int = 0
    entries: list[Entry] = field(default_factory=list)
    left_out: dict[str, tuple[int, str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def leave(self, reason: str, first: str = "") -> None:
        """Count a row that is left out; `first` tells more of the first one."""
        count, told = self.left_out.get(reason, (0, first))
        self.left_out[reason] = (count + 1, told)

    def note(self, text: str) -> None:
        """Say something once."""
        if text not in self.notes:
            self.notes.append(text)


@dataclass(slots=True)
class _Read:
    """A row that was read; `same` is whose it is, and what tells its item from others."""

    place: str
    fields: dict[str, object]
    same: tuple[object, ...]
    rating: float | None = None
    time: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads rows of a format for a domain: as a history or as items.

    With `series`, titles that are no films are taken too. With `people`, rows may be of several, and each entry says
    whose it is: its `user`, 1 where the format has no column of it.
    """

    format: Format
    domain: Domain
    source: str
    purpose: Purpose
    series: bool = False
    people: bool = False

    def take(self, rows: Iterable[Row]) -> Taken:
        """Read all rows.

        Raises
        ------
        InputError
            A rating lies off its scale, an item is there twice, most rows are broken, or nothing is left.

        """
        taken = Taken()
        found: list[tuple[Row, str]] = []
        for row in rows:
            taken.rows += 1
            if (title := self._wanted(row, taken)) is not None:
                found.append((row, title))
        if not self.people:
            self._check_person(found)
        pattern = pattern_of([self._cell(row, self.format.time) for row, _ in found], self.format.dates)
        read = [each for row, title in found if (each := self._read(row, title, pattern, taken)) is not None]
        read = self._of_history(read, taken) if self.purpose == "history" else self._once(read, taken)
        taken.entries = [self._entry(each) for each in read]
        self._refuse_ruins(taken)
        return taken

    def _wanted(self, row: Row, taken: Taken) -> str | None:
        """Return the title of a row that is to be read; None for one that is left out."""
        own = self.format
        if row.broken:
            taken.leave("broken", f"{row.place}: {row.broken}")
            return None
        kind = row.cells.get(key(own.type), "") if own.type else ""
        if kind.strip() and key(kind) not in own.types and not self.series:
            taken.leave(type_words(kind))
            taken.others += 1
            return None
        shelves = own.done if self.purpose == "history" else own.wanted
        shelf = row.cells.get(key(own.shelf), "").strip() if own.shelf else ""
        if own.shelf and shelf not in shelves:
            taken.leave(f"on the shelf {shelf}" if shelf else "on no shelf")
            return None
        title = self._cell(row, own.fields.get("title", ()))
        if own.episodes and not self.series and is_episode(title):
            taken.leave("TV episodes")
            taken.others += 1
            return None
        self._refuse_open_quote(row)
        for name in self._required():
            if not self._cell(row, own.fields[name]):
                taken.leave(f"without a {name}", row.place)
                return None
        return title

    def _refuse_open_quote(self, row: Row) -> None:
        """Refuse a cell that has swallowed other rows: no title, rating or date has a line break."""
        columns = [*(column for each in self.format.fields.values() for column in each), *self.format.time]
        for column in (*columns, self.format.rating):
            if "\n" in row.cells.get(key(column), "").strip():
                finding = f"a quote opens in the column {column} and does not close on its line"
                raise InputError(finding, source=self.source, place=row.place, remedy="mend the row, or double it")

    def _cell(self, row: Row, columns: Sequence[str]) -> str:
        """Return the first of some columns that is filled."""
        return next((text for column in columns if (text := row.cells.get(key(column), "").strip())), "")

    def _check_person(self, found: Sequence[tuple[Row, str]]) -> None:
        person = self.format.person
        people = list(dict.fromkeys(row.cells.get(key(person), "").strip() for row, _ in found)) if person else []
        if self.purpose == "history" and len(people) > 1:
            shown = ", ".join(map(quoted, people[:3]))
            raise InputError(
                f"is of {len(people)} people (column {person}: {shown}{', …' if len(people) > 3 else ''})",
                source=self.source,
                remedy="keep one person's rows; of many people, rella data prepare table makes a data set",
            )

    def _read(self, row: Row, title: str, pattern: str, taken: Taken) -> _Read | None:
        rating = time = None
        if self.purpose == "history":
            text = row.cells.get(key(self.format.rating), "") if self.format.rating else ""
            try:
                rating = self._rating(text, row.place, taken)
            except ValueError:
                taken.leave("with a rating that is no number", f"{row.place}: {quoted(text)}")
                return None
            text = self._cell(row, self.format.time)
            try:
                time = read_date(text, pattern)
            except ValueError:
                taken.leave("with a date that cannot be read", f"{row.place}: {quoted(text)}; give {DATES_TAKEN}")
                return None
        fields = self._fields(row, title, taken)
        own = tuple(row.cells.get(key(column), "").strip() for column in self.format.same)
        named = (*self._required(), "title", "year", "author")
        same = own if any(own) else tuple(str(fields.get(name, "")).casefold() for name in named)
        person = self._cell(row, (self.format.person,)) if self.format.person else _ALONE
        return _Read(row.place, fields, (person, *same), rating, time)

    def _required(self) -> list[str]:
        """Name the fields that an item needs and the format has."""
        return [each.name for each in self.domain.item if each.required and each.name in self.format.fields]

    def _fields(self, row: Row, title: str, taken: Taken) -> dict[str, object]:
        """Return the fields of an item that the domain has; a year at a title's end is one where no column has it."""
        types = {each.name: each.type for each in self.domain.item}
        fields: dict[str, object] = {}
        for name, columns in self.format.fields.items():
            text = self._cell(row, columns)
            if not text or name not in (*types, "id", AVERAGE):
                continue
            if name == AVERAGE and name not in types:
                if self.domain.reads_averages and (mean := self._average(text)) is not None:
                    fields[AVERAGE] = mean
            elif types.get(name) == "list":
                fields[name] = list_of(text)
            else:
                fields[name] = int(text) if name == "year" and text.isdecimal() and len(text) <= 4 else text
        if "year" in types and "year" not in fields and "title" in fields:
            name, year = split_title(title)
            if year is not None:
                fields |= {"title": name, "year": year}
        return fields

    def _rating(self, text: str, place: str, taken: Taken) -> float | None:
        """Return a rating on the domain's scale; ValueError where it is none."""
        found, scale = read_rating(text), self.domain.rating
        if found is None or scale is None or (found[0] == 0 and self.format.zero_is_none):
            return None
        value, whole = found
        low, high = self.format.scale or (scale.min, scale.max)
        if whole is not None:
            low, high = 0.0, whole
        if not low <= value <= high:
            ends = f"from {low:g} to {high:g}"
            if whole is None and self.format.scale is None:
                remedy = f"the domain {self.domain.name} rates {ends} {scale.plural}; of another scale, write 8/10"
            else:
                remedy = f"give {ends}" if whole is not None else f"{self.format.name.split()[0]} rates {ends}"
            raise InputError(f"rating is {quoted(text.strip())}", source=self.source, place=place, remedy=remedy)
        if self.format.scale is not None or whole is not None:
            if high != scale.max:
                taken.note(_said(high, scale))
            return on_scale(value, high, scale)
        return value

    def _average(self, text: str) -> float | None:
        """Return an item's mean rating on the domain's scale; None where it is none, as 0 is."""
        scale = self.domain.rating
        try:
            found = read_rating(text)
        except ValueError:
            return None
        if found is None or scale is None or found[0] == 0:
            return None
        if self.format.scale is None and found[1] is None:
            return found[0]
        return on_scale(found[0], found[1] or (self.format.scale or (0, scale.max))[1], scale)

    def _of_history(self, read: list[_Read], taken: Taken) -> list[_Read]:
        """Keep what has a rating, if anything has; of what comes again the latest. Drop times that only some have."""
        rated = any(each.rating is not None for each in read)
        if self.format.wishes and read and not rated:
            raise InputError(
                f"is a list of {self.domain.plural} to come ({self.format.name}), not a history",
                source=self.source,
                remedy="give it as --items, and ratings as --history",
            )
        if rated:
            for each in read:
                if each.rating is None:
                    taken.leave("without a rating")
            read = [each for each in read if each.rating is not None]
        elif read and self.domain.rating is not None:
            taken.note("it has no ratings, which --layout stream needs; --layout question does without")
        untimed = sum(each.time is None for each in read)
        if 0 < untimed < len(read):
            taken.note(f"{untimed} without a date, so no dates are read: the order is the file's")
            for each in read:
                each.time = None
        last: dict[tuple[object, ...], int] = {}
        for at, each in enumerate(read):
            before = last.get(each.same)
            if before is None or each.time is None or each.time >= read[before].time:  # type: ignore[operator]
                last[each.same] = at
        for _ in range(len(read) - len(last)):
            taken.leave("rated again (the latest counts)" if rated else "there again (the latest counts)")
        return [read[at] for at in sorted(last.values())]

    def _once(self, read: list[_Read], taken: Taken) -> list[_Read]:
        """Refuse an item that is there twice, but for a diary: of that, take the first."""
        first: dict[tuple[object, ...], _Read] = {}
        for each in read:
            before = first.setdefault(each.same, each)
            if before is not each and self.format.diary:
                taken.leave("there again")
            elif before is not each:
                name = f"{each.fields.get('title', '')} ({each.fields['year']})" if "year" in each.fields else None
                raise InputError(
                    f"{quoted(name or str(each.fields.get('title', '')))} is there twice, the first on {before.place}",
                    source=self.source,
                    place=each.place,
                    remedy="leave one of them",
                )
        return list(first.values())

    def _entry(self, each: _Read) -> Entry:
        own: dict[str, object] = {"rating": each.rating, "timestamp": each.time}
        if self.people:
            own["user"] = each.same[0]
        fields = each.fields | {name: value for name, value in own.items() if value is not None}
        return Entry(fields, each.place)

    def _refuse_ruins(self, taken: Taken) -> None:
        """Refuse a file of which most rows are broken."""
        count, first = taken.left_out.get("broken", (0, ""))
        if 2 * count > taken.rows:
            raise InputError(
                f"{count} of {taken.rows} rows are broken, the first on {first}",
                source=self.source,
                remedy="mend the file, or download it again",
            )


def on_scale(value: float, high: float, scale: RatingScale) -> float:
    """Bring a value out of `high` to a scale: the same share of its end, and not below its beginning."""
    if scale.min < 0:
        return scale.min + value / high * (scale.max - scale.min)
    return max(scale.min, round(value / high * scale.max, 6))


def _said(high: float, scale: RatingScale) -> str:
    told = {0.5: "halved", 2.0: "doubled"}.get(scale.max / high)
    return f"ratings of {high:g} are {told or f'brought to {scale.min:g} to {scale.max:g} {scale.plural}'}"
