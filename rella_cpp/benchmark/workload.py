"""What is read for a benchmark: made up from word lists, so that anybody can run it, always the same."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from rella_cpp.errors import InputError

USER = {"gender": "F", "age": "25-34", "occupation": "librarian"}
"""The made-up user."""

FILMS = 1600
"""So many made-up films are different from each other."""

_KINDS = (
    "Broken Silent Golden Hidden Last Crimson Distant Lonely Midnight Electric Frozen Burning Secret Endless Stolen "
    "Wild Hollow Gentle Savage Paper Silver Forgotten Restless Bitter Velvet Northern Strange Little Rising Falling "
    "Empty Sacred Quiet Reckless Final Second Perfect Borrowed Glass Winter"
).split()
_THINGS = (
    "River Garden Promise Soldier Mirror Harvest Voyage Stranger Orchard Kingdom Letter Station Detective Summer "
    "Bridge Daughter Empire Lighthouse Melody Horizon Island Witness Season Carnival Frontier Shadow Brother Window "
    "Avenue Engine Castle Dancer Signal Reunion Fortune Valley Teacher Ocean Circus Journey"
).split()
_PLACES = "Paris Texas Havana Vienna Alaska Bombay Dublin Lisbon Kyoto Prague".split()
_GENRES = "Drama Comedy Thriller Romance Action Horror Western Musical Adventure Mystery Crime Fantasy War".split()
_SHAPES = ("The {0} {1}", "{0} {1}", "{1} of the {0} Heart", "{0} {1} in {2}")


@dataclass(frozen=True, slots=True)
class Mix:
    """What is read in one round.

    Attributes
    ----------
    lengths
        Lengths of the unshared prompts, in tokens.
    tokens
        About so many tokens are read for each length: at least one prompt.
    items, behaviors
        Ranking: how many items, after how many behaviors.
    titles
        Embedding: how many films.
    texts, text_tokens, new_tokens
        Generating: how many prompts, how long each, and how many tokens to add at most.

    Raises
    ------
    InputError
        A number is below 1 (a length below 8), or asks for more films than there are.

    """

    lengths: tuple[int, ...] = (230, 640)
    tokens: int = 2560
    items: int = 100
    behaviors: int = 30
    titles: int = 1000
    texts: int = 16
    text_tokens: int = 100
    new_tokens: int = 32

    def __post_init__(self) -> None:
        """Check every number."""
        for name, value in asdict(self).items():
            for number in value if name == "lengths" else (value,):
                least = 8 if name in ("lengths", "text_tokens") else 1
                if number < least:
                    raise InputError(f"{name} is {number}", remedy=f"give at least {least}")
        if not self.lengths:
            raise InputError("lengths is empty", remedy="give at least one length")
        for name, films in (("titles", self.titles), ("items and behaviors", self.items + self.behaviors)):
            if films > FILMS:
                raise InputError(f"{name} ask for {films} films", remedy=f"give at most {FILMS}")

    @classmethod
    def quick(cls) -> Self:
        """Return a tenth of the work or so, for a slow model; what is shared weighs more in it."""
        return cls(tokens=640, items=20, behaviors=20, titles=100, texts=8, new_tokens=8)

    def as_dict(self) -> dict[str, object]:
        """Return a JSON object."""
        return {**asdict(self), "lengths": list(self.lengths)}

    @property
    def history(self) -> list[dict[str, object]]:
        """The made-up user's behaviors, oldest first."""
        return [{**film(number), "rating": 1 + (number * 7 + number // 3) % 5} for number in range(self.behaviors)]

    @property
    def targets(self) -> list[dict[str, object]]:
        """The items to rank, none of them in the history."""
        return [film(self.behaviors + number) for number in range(self.items)]

    @property
    def catalog(self) -> list[dict[str, object]]:
        """The items to embed."""
        return [film(number) for number in range(self.titles)]


def film(number: int) -> dict[str, object]:
    """Make up a film; different numbers below `FILMS` give different titles."""
    turn, column = divmod(number, len(_KINDS))
    kind, thing = _KINDS[column], _THINGS[(column + turn) % len(_THINGS)]
    title = _SHAPES[number % len(_SHAPES)].format(kind, thing, _PLACES[number % len(_PLACES)])
    genres = [_GENRES[(number * step + turn) % len(_GENRES)] for step in range(1, 2 + number % 3)]
    return {"title": title, "year": 1950 + number * 11 % 70, "genres": list(dict.fromkeys(genres))}


def long_text() -> str:
    """Make up a text of some thousand words: all the titles."""
    return "; ".join(str(film(number)["title"]) for number in range(FILMS))


def unshared(stream: Sequence[int], lengths: Sequence[int]) -> list[npt.NDArray[np.int32]]:
    """Cut prompts of given lengths out of a text's tokens, each beginning with another token (while there are any).

    Returns
    -------
    int32 arrays of shape (length,).

    """
    tokens = np.asarray(stream, dtype=np.int32)
    prompts: list[npt.NDArray[np.int32]] = []
    place = 0
    for length in lengths:
        starts = {int(prompt[0]) for prompt in prompts}
        fresh = (p for p in range(place, place + len(tokens)) if int(tokens[p % len(tokens)]) not in starts)
        place = next(fresh, place)
        prompts.append(np.take(tokens, range(place, place + length), mode="wrap"))
        place += length
    return prompts
