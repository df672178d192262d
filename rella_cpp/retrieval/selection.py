"""Which behaviors of a history prompts show: how many, by what choice, in what order."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, Self, get_args

from rella_cpp.domains.values import describe, quoted
from rella_cpp.errors import InputError
from rella_cpp.prompts.layout import Layout, check_layout
from rella_cpp.prompts.yes_no import Order

_MOST = 1_000_000

Retrieval = Literal["subr", "recent", "both"]
Window = Literal["anchored", "sliding"]
DEFAULTS: dict[Layout, tuple[int, Retrieval]] = {"question": (30, "subr"), "stream": (12, "recent")}
"""K and the choice of behaviors, by layout, where nothing else is wanted."""


class Shown(NamedTuple):
    """Which behaviors of a history prompts show: how many at most, by what choice, in what order.

    With a `window` they are lines of a stream: behaviors with a rating alone.
    """

    k: int
    retrieval: Retrieval
    order: Order
    window: Window | None = None

    def facts(self) -> dict[str, object]:
        """Return it as JSON; the window only where there is one."""
        return {name: value for name, value in self._asdict().items() if value is not None}


@dataclass(frozen=True, slots=True)
class Selection:
    """Which behaviors of a history a prompt shows: how many, by what choice, in what order.

    Attributes
    ----------
    k
        How many at most; an anchored window has K to 2K − 1.
    retrieval
        `subr`: those nearest to the target (ReLLa §3.2); `recent`: the latest; `both`, of a stream: the K nearest of
        what stands before the window, then the window.
    order
        How they stand in the prompt: `time` (chronological, the paper's), `reversed`, `similarity` (nearest first),
        `shared` (those first that most targets retrieve, so that prompts begin alike; see `retrieval.ordering`).
    allow_empty_history
        Whether a target is scored with no history, too.
    window
        Which behaviors of a stream are the latest. `anchored`: the latest K to 2K − 1, from a multiple of K of the
        user's rated behaviors on, so that the next prompt begins with this one; `sliding`: the latest K. None: the
        layout's own, for a stream `anchored`.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    k: int = 30
    retrieval: Retrieval = "subr"
    order: Order = "time"
    allow_empty_history: bool = False
    window: Window | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.k, int) or isinstance(self.k, bool) or not 1 <= self.k <= _MOST:
            shown = describe(self.k) if isinstance(self.k, str) else quoted(self.k)
            raise InputError(f"K is {shown}", remedy="give a whole number of behaviors, 1 to 1,000,000 (-k 30)")
        for name, value, known in (
            ("retrieval", self.retrieval, get_args(Retrieval)),
            ("order", self.order, get_args(Order)),
            ("window", self.window, (None, *get_args(Window))),
        ):
            if value not in known:
                raise InputError(f"{name} is {quoted(value)}", remedy=f"one of {', '.join(filter(None, known))}")

    @classmethod
    def of(
        cls,
        layout: Layout,
        k: int | None = None,
        retrieval: Retrieval | None = None,
        order: Order = "time",
        *,
        allow_empty_history: bool = False,
        window: Window | None = None,
    ) -> Self:
        """Make a selection for a layout, whose `DEFAULTS` take the place of None.

        Raises
        ------
        InputError
            A value is out of its range, or the layout does not have it.

        """
        check_layout(layout)
        usual_k, usual = DEFAULTS[layout]
        made = cls(usual_k if k is None else k, retrieval or usual, order, allow_empty_history, window)
        made.shown(layout)
        return made

    def shown(self, layout: Layout) -> Shown:
        """Return which behaviors prompts of a layout show.

        Raises
        ------
        InputError
            The layout does not have such a choice, order or window.

        """
        if layout == "question":
            if self.retrieval == "both" or self.window is not None:
                name, value = ("retrieval", "both") if self.retrieval == "both" else ("window", self.window)
                raise InputError(f"{name} is {quoted(value)}, which streams have", remedy="add --layout stream")
            return Shown(self.k, self.retrieval, self.order)
        if self.order != "time":
            remedy = "leave the order out: each line's rating is read with what came before it"
            raise InputError(f"order is {quoted(self.order)}, and a stream is in the order of time", remedy=remedy)
        if self.retrieval == "subr" and self.window is not None:
            remedy = "leave it out, or take --retrieval both"
            raise InputError(
                f"window is {quoted(self.window)}, and subr shows the nearest wherever they are", remedy=remedy
            )
        return Shown(self.k, self.retrieval, self.order, self.window or "anchored")


def window_start(rated: int, k: int, window: Window) -> int:
    """Return how many of a user's rated behaviors stand before the window.

    Parameters
    ----------
    rated
        How many there are.
    k, window
        See `Selection`.

    Examples
    --------
    With K = 12 the anchored window of 23 behaviors shows all of them, that of 24 the last twelve; it then grows again.

    >>> [n - window_start(n, 12, "anchored") for n in (11, 12, 23, 24, 25, 35, 36)]
    [11, 12, 23, 12, 13, 23, 12]

    """
    if window == "sliding":
        return max(0, rated - k)
    return max(0, (rated // k - 1) * k)
