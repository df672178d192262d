"""Which behaviors of a history prompts show: how many, by what choice, in what order."""

from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from rella_cpp.domains.values import describe, quoted
from rella_cpp.errors import InputError
from rella_cpp.prompts.yes_no import Order

_MOST = 1_000_000

Retrieval = Literal["subr", "recent"]


@dataclass(frozen=True, slots=True)
class Selection:
    """Which behaviors of a history a prompt shows: how many, by what choice, in what order.

    Raises
    ------
    InputError
        A value is out of its range.

    """

    k: int = 30
    retrieval: Retrieval = "subr"
    order: Order = "time"
    allow_empty_history: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.k, int) or not 1 <= self.k <= _MOST:
            shown = describe(self.k) if isinstance(self.k, str) else quoted(self.k)
            raise InputError(f"K is {shown}", remedy="give a whole number of behaviors, 1 to 1,000,000 (-k 30)")
        for name, value, known in (
            ("retrieval", self.retrieval, get_args(Retrieval)),
            ("order", self.order, get_args(Order)),
        ):
            if value not in known:
                raise InputError(f"{name} is {quoted(value)}", remedy=f"one of {', '.join(known)}")


class Shown(NamedTuple):
    """Which behaviors of a history prompts show: how many at most, by what choice, in what order."""

    k: int
    retrieval: Retrieval
    order: Order
