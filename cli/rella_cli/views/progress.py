"""A progress bar on stderr, with rate and time left; it comes with the first report and goes with the last."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self

from rella_gguf.shown import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID


_PACED = 10
"""Fewer steps differ from each other, so a rate would say nothing."""


class ProgressBar:
    """Call it with a task's name, what is done and the total. Silent where stderr is no terminal.

    Parameters
    ----------
    patience
        Seconds after which even there one line names the task; None: never.

    """

    def __init__(self, patience: float | None = None) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._patience, self._start = patience, time.monotonic()

    @cached_property
    def _bar(self) -> "Progress":
        from rich.progress import BarColumn, Progress, TextColumn

        from rella_cli.views.terminal import console

        return Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.percentage:>3.0f} %"),
            TextColumn("{task.fields[rate]}"),
            TextColumn("{task.fields[note]}", markup=False),
            TextColumn("{task.fields[left]}"),
            console=console(stderr=True),
            transient=True,
        )

    def __call__(self, task: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` is done, and a note beside it."""
        task, note = one_line(task), one_line(note)
        # The first question spares a start that only tries its model the import of rich.
        if total <= 1 or sys.stderr is None or not sys.stderr.isatty() or not self._bar.console.is_terminal:
            self._mention(task, note)
            return
        if task not in self._tasks:
            self._bar.start()
            self._tasks[task] = self._bar.add_task(task, total=total, rate="", note=note, left="")
        number = self._tasks[task]
        rate, left = _pace(self._bar.tasks[number]) if total >= _PACED else ("", "")
        self._bar.update(number, completed=done, total=total, rate=rate, note=note, left=left)
        if done >= total:
            self._bar.update(number, visible=False)

    def _mention(self, task: str, note: str) -> None:
        """Name a task that takes long, once."""
        if self._patience is not None and time.monotonic() - self._start > self._patience and sys.stderr is not None:
            self._patience = None
            sys.stderr.write(f"note: {task} ({note})\n" if note else f"note: {task}\n")

    def __enter__(self) -> Self:
        """Use as a context manager."""
        return self

    def __exit__(self, *_error: object) -> None:
        """Take the bar away."""
        if self._tasks:
            self._bar.stop()


@contextmanager
def resumable() -> Iterator[None]:
    """Say of an interrupted command that it goes on where it was."""
    from rella_cli.views.terminal import note

    try:
        yield
    except KeyboardInterrupt:
        note("what is finished is kept: the same command goes on from there")
        raise


def _pace(task: "Task") -> tuple[str, str]:
    """Write a task's rate, and the time left."""
    left = task.time_remaining
    return f"{task.speed:,.1f}/s" if task.speed else "", "" if left is None else str(timedelta(seconds=int(left)))
