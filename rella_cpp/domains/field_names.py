"""Names of fields that are not known, and the known ones that were probably meant: `Title`, `genre`, `date`."""

import re
from collections.abc import Collection, Mapping
from functools import lru_cache

from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError
from rella_gguf.near_names import nearest, same_name, shown_name

_OTHER_WORDS = {
    "title": ("name", "movie", "film", "book", "product", "game", "headline"),
    "rating": ("stars", "score", "points"),
    "timestamp": ("date", "time", "ts", "when", "datetime", "watched_at", "rated_at", "created_at"),
    "average": ("avg", "mean", "average_rating", "avg_rating", "mean_rating", "vote_average"),
    "genres": ("category", "categories"),
    "author": ("writer", "by"),
    "gender": ("sex",),
    "occupation": ("job", "profession"),
    "history": ("behaviors", "behaviours", "interactions", "events"),
    "items": ("candidates", "targets"),
    "item": ("target",),
}
"""What data of other makers call the fields that the built-in domains have."""
_LONGEST = 100  # characters of a name worth a guess, and of one that is kept in memory


def other_words(field: str) -> tuple[str, ...]:
    """Return what data of other makers call a field, besides its name."""
    return _OTHER_WORDS.get(field, ())


def meant_field(name: str, known: tuple[str, ...]) -> str | None:
    """Return the known field that was probably meant by a name; None where there is none.

    The name of a field that is spelt alike, or another word for it.
    """
    return None if len(name) > _LONGEST else _meant_field(name, known)


@lru_cache(maxsize=4096)
def _meant_field(name: str, known: tuple[str, ...]) -> str | None:
    near = nearest(name, known, closely=True)
    words = (field for field in known if any(same_name(name, word) for word in _OTHER_WORDS.get(field, ())))
    return near[0] if near else next(words, None)


def missing_field(name: str, fields: Mapping[str, object], known: Collection[str], remedy: str) -> InputError:
    """Return the refusal of a record that lacks a field, with what was probably meant for it; else with a remedy."""
    if fields.get(name) is not None:
        return InputError(f"has no {name}, found {quoted(fields[name])}", remedy=remedy)
    others = [str(other) for other in fields if other not in known]
    near = nearest(name, others, closely=True) or [other for other in others if _stands_for(other, name)]
    if not near:
        return InputError(f"has no {name}", remedy=remedy)
    return InputError(f"has no {name}, found {shown_name(near[0])}", remedy=f"did you mean {name}?")


def _stands_for(other: str, name: str) -> bool:
    """Tell whether a field is another's by another word, or has its name as one of its words (`movie_title`)."""
    return meant_field(other, (name,)) is not None or name in re.split(r"[\W_]+", other.casefold())
