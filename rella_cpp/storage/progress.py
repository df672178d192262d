"""How long work tells how far it is."""

from collections.abc import Callable

Progress = Callable[..., None]
"""Called with a task's name, what is done and the total, as work goes on; now and then with a note as the fourth."""


def no_progress(_task: str, _done: int, _total: int, _note: str = "") -> None:
    """Show nothing."""
