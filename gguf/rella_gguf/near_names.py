"""The known names that somebody may have meant by another one, for messages."""

from collections.abc import Iterable
from difflib import SequenceMatcher

from rella_gguf.errors import InputError

_LIKE = 0.6  # of difflib's ratio: where a name is refused, a guess costs nothing
_ALIKE = 0.75  # where another name is let in all the same: two letters swapped in one of four
_LONGEST = 100  # letters; what is longer is no slip of the pen, and would take long to compare
_SHORT = 4  # letters; shorter names resemble too many others


def nearest(name: object, known: Iterable[str], most: int = 1, *, closely: bool = False) -> list[str]:
    """Return the known names nearest to a name, the nearest first, `most` at most.

    First those that differ by case, blanks, `_` and `-` alone, then those that differ by number (`genre`, `genres`),
    then those that are spelt alike.

    Parameters
    ----------
    closely
        Of those that are spelt alike, take only what is hardly anything else.

    """
    if len(str(name)) > _LONGEST:
        return [each for each in known if each == name]
    least = _ALIKE if closely else _LIKE
    rated = [(_likeness(str(name), each, closely=closely), each) for each in known]
    rated = [(likeness, each) for likeness, each in rated if likeness >= least]
    return [each for _, each in sorted(rated, key=lambda pair: -pair[0])[:most]]


def same_name(name: str, other: str) -> bool:
    """Tell whether two names are the same but for case, blanks, `_` and `-`."""
    return _bare(name) == _bare(other)


def did_you_mean(name: object, known: Iterable[str], most: int = 1) -> str:
    """Ask `did you mean title?`; empty where no known name is near."""
    near = nearest(name, known, most)
    return f"did you mean {' or '.join(near)}?" if near else ""


def unknown_key(key: object, known: Iterable[str], *, place: str | None = None, meant: str | None = None) -> InputError:
    """Return the refusal of a key, with the one `meant` or the nearest known one, or with all that are known."""
    known = list(known)
    hint = did_you_mean(key, known) if meant is None else f"did you mean {meant}?"
    remedy = hint or f"known keys: {', '.join(known)}"
    return InputError(f"unknown key {shown_name(key)}", place=place, remedy=remedy)


def unknown_name(kind: str, name: object, known: Iterable[str], *, most: int = 2, more: str = "") -> InputError:
    """Return the refusal of a name of a kind of things, with the nearest of them and all; `more` says what else is."""
    known = list(known)
    hint = did_you_mean(name, known, most)
    there = f"there are {', '.join(known)}{more}"
    return InputError(f"unknown {kind} {str(name)!r}", remedy=f"{hint} {there}" if hint else there)


def shown_name(name: object) -> str:
    """Return a name for a message: as it is where it is a plain word, else in quotes, so that blanks are seen."""
    text = str(name)
    plain = text.replace("-", "_").replace(".", "_").isidentifier() and text.isprintable()
    return text if plain and len(text) <= 60 else repr(text if len(text) <= 60 else f"{text[:59]}…")


def _likeness(name: str, known: str, *, closely: bool) -> float:
    """Return difflib's ratio, above 1 where two names are the same but for case, blanks and number."""
    if name == known:
        return 4.0
    bare, wanted = _bare(name), _bare(known)
    if bare == wanted:
        return 3.0
    if bare and _singular(bare) == _singular(wanted):
        return 2.0
    if closely and len(known) < _SHORT:
        return 0.0
    return SequenceMatcher(None, known.casefold(), name.casefold()).ratio()


def _bare(name: str) -> str:
    return "".join(c for c in name.casefold() if c.isalnum())


def _singular(word: str) -> str:
    if len(word) > _SHORT and word.endswith("ies"):
        return f"{word[:-3]}y"
    return word[:-1] if len(word) > _SHORT - 1 and word.endswith("s") else word
