"""A progress bar on stderr, with rate and time left; it comes with the first report and goes with the last."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Self

from rella_gguf.shown import one_line

if TYPE_CHECKING:
    from rich.progress import Progress, Task, TaskID


_PACED = 10
"""Fewer steps differ from each other, so a rate would say nothing."""


_EVERY = 60.0
"""Seconds between two lines where there is no terminal."""


class ProgressBar:
    """Call it with a task's name, what is done and the total. Where stderr is no terminal, a line a minute says that.

    Parameters
    ----------
    patience
        Seconds after which one line names a task of one step there; None: never.
    quiet
        Say nothing there.

    """

    def __init__(self, patience: float | None = None, *, quiet: bool = False) -> None:
        self._tasks: dict[str, TaskID] = {}
        self._patience, self._start = patience, time.monotonic()
        self._quiet, self._said, self._paces = quiet, time.monotonic(), dict[str, tuple[float, int]]()

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
            self._tell(task, done, total, note)
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

    def _tell(self, task: str, done: int, total: int, note: str) -> None:
        """Say once a minute how far a task is."""
        now = time.monotonic()
        start, first = self._paces.setdefault(task, (now, done))
        if self._quiet or total <= 1 or sys.stderr is None or now - self._said < _EVERY:
            return
        self._said = now
        told = [f"{task}: {done:,} of {total:,}"]
        if (rate := (done - first) / (now - start) if now > start else 0.0) > 0:
            left = timedelta(seconds=int((total - done) / rate))
            told += [f"{rate:,.1f}/s" if rate >= 0.1 else f"{60 * rate:,.1f} a minute", f"{left} left"]
        with suppress(OSError):  # whoever listened has gone, or the disk is full: the work goes on
            sys.stderr.write(", ".join([*told, *([note] if note else [])]) + "\n")
            sys.stderr.flush()

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
