"""Items that are too long for the context: what makes them long, and where they stand."""

import re
from collections.abc import Callable, Sequence

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.domains.values import quoted
from rella_cpp.engine.segments import Encoded, Span
from rella_cpp.errors import ContextError, InputError


class LongItem(ContextError):
    """An item's text does not fit the context; `number` is the item's 0-based place among those that were given."""

    number = 0

    @classmethod
    def of(cls, number: int, finding: str) -> "LongItem":
        """Say of which item it is found."""
        error = cls(finding, place=f"item[{number}]", remedy="shorten it, or raise --ctx")
        error.number = number
        return error

    def at(self, place: str) -> ContextError:
        """Return what is known to stand elsewhere."""
        return ContextError(self.finding, source=self.source, place=place, remedy=self.remedy)


def longest_field(domain: Domain, item: Item, tokens: int, encode: Callable[[Sequence[Span]], Encoded]) -> str:
    """Say which field of an item takes more than half of a prompt of so many tokens; empty where none does."""
    texts = domain.item_fields(item)
    shown = [entry.name for entry in domain.item if not entry.long and entry.name in texts]
    count, name = max((len(encode([Span(texts[name])]).tokens), name) for name in shown)
    return f"the {name} has {count:,} tokens ({quoted(texts[name])})" if 2 * count > tokens else ""


def located_in(error: InputError, name: str, places: Sequence[str | None], source: str) -> InputError:
    """Name the file of an error about `name[0]`, `name[1]`, …, and its place there; return any other as it is."""
    found = re.fullmatch(rf"{name}\[(\d+)\]", error.place or "")
    if found is None or error.source is not None:
        return error
    return type(error)(error.finding, source=source, place=places[int(found[1])], remedy=error.remedy)
