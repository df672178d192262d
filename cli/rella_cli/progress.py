"""A progress bar on stderr, with rate and time left; it comes with the first report and goes with the last."""

import sys
from functools import cached_property
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class ProgressBar:
    """Call it with a task's name, what is done and the total. Silent where stderr is no terminal."""

    def __init__(self) -> None:
        self._tasks: dict[str, TaskID] = {}

    @cached_property
    def _bar(self) -> "Progress":
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[note]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done, and a note beside it."""
        # The first question spares a start that only tries its model the import of rich.
        if total <= 1 or sys.stderr is None or not sys.stderr.isatty() or not self._bar.console.is_terminal:
            return
        if task not in self._tasks:
            self._bar.start()
            self._tasks[task] = self._bar.add_task(task, total=total, rate="", note=note)
        number = self._tasks[task]
        speed = self._bar.tasks[number].speed
        self._bar.update(number, completed=done, total=total, rate=f"{speed:,.1f}/s" if speed else "", note=note)
        if done >= total:
            self._bar.update(number, visible=False)

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Take the bar away."""
        if self._tasks:
            self._bar.stop()
