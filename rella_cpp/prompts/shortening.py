"""Item texts of a bounded length, cut at a word's end."""

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.records import Item
from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Span

_MARK = "…"


class Shortener:
    """Gives items' texts, long fields included, of at most so many tokens; what is cut, at a word's end, ends with `…`.

    Parameters
    ----------
    engine
        Its tokens are counted.
    domain
        Shows items.
    tokens
        How many a text may have.

    """

    def __init__(self, engine: Engine, domain: Domain, tokens: int) -> None:
        self._engine, self._domain, self._tokens = engine, domain, tokens
        self._known: dict[str, str] = {}

    def __call__(self, item: Item) -> str:
        """Return an item's text."""
        return self._cut(self._domain.show_item(item, long=True))

    def shortens(self, item: Item) -> bool:
        """Tell whether an item's text is cut."""
        text = self._domain.show_item(item, long=True)
        return self._cut(text) != text

    def _cut(self, text: str) -> str:
        if text not in self._known:
            self._known[text] = text if self._fits(text) else self._longest(text) + _MARK
        return self._known[text]

    def _longest(self, text: str) -> str:
        """Return the longest beginning that fits: of whole words, or where those are less than half of it, cut in one.

        Chinese and Japanese have no blanks: a title would be gone.
        """
        fits, beyond = 0, len(text)
        while beyond - fits > 1:
            middle = (fits + beyond) // 2
            fits, beyond = (middle, beyond) if self._fits(text[:middle] + _MARK) else (fits, middle)
        longest = text[:fits]
        words = longest if text[fits : fits + 1] == " " else longest.rpartition(" ")[0]
        return words.rstrip() if len(words) >= len(longest) / 2 else longest.rstrip()

    def _fits(self, text: str) -> bool:
        vocabulary = self._engine.vocabulary
        return len(self._engine.encode([Span(text)]).tokens) - vocabulary.adds_bos <= self._tokens
