"""How a history is laid out in a prompt."""

from typing import Literal, get_args

from rella_cpp.domains.values import quoted
from rella_cpp.errors import InputError

Layout = Literal["question", "stream"]
"""`question`: a list of behaviors, and a yes-or-no question about the target (ReLLa).

`stream`: a line per behavior that ends in its rating; the target's line comes next, and the model says its rating (so
DTI, arXiv 2503.01001, trains: many targets in one sequence)."""

LAYOUTS: tuple[Layout, ...] = get_args(Layout)


def check_layout(name: str) -> None:
    """Refuse an unknown layout.

    Raises
    ------
    InputError
        There is none of that name.

    """
    if name not in LAYOUTS:
        raise InputError(f"layout is {quoted(name)}", remedy=f"one of {', '.join(LAYOUTS)}")
