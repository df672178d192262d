"""What an evaluation cost, over all its sittings: seconds, prompt tokens, decoded tokens (`cost.json` of a run).

It stands apart from the predictions, which are the same however often a run was killed.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from rella_cpp.errors import InputError
from rella_cpp.evaluation.models import ScoringModel
from rella_cpp.storage.artifacts import read_json, write_json

COST = "cost.json"
_NAMES = ("seconds", "prompt_tokens", "decoded_tokens")
_MOST = 1e15  # of a number in the file
_SAVED = 1  # seconds between two writes: what a kill can lose


class CostMeter:
    """Adds up what a run costs.

    Parameters
    ----------
    folder
        The run's.
    judge
        Counts the tokens; None: there is no model.

    """

    def __init__(self, folder: Path, judge: ScoringModel | None) -> None:
        self._path, self._judge, self._saved = folder / COST, judge, time.monotonic()
        known = read_cost(folder) or {}
        self._total = {name: known.get(name, 0) for name in _NAMES}

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Count what is done meanwhile."""
        start, (asked, decoded) = time.monotonic(), self._tokens()
        try:
            yield
        finally:
            now = self._tokens()
            self._total["seconds"] += time.monotonic() - start
            self._total["prompt_tokens"] += now[0] - asked
            self._total["decoded_tokens"] += now[1] - decoded
        if time.monotonic() - self._saved > _SAVED:
            self.save()

    def save(self) -> None:
        """Write it."""
        if self._judge is not None:
            write_json(self._path, self._total | {"seconds": round(self._total["seconds"], 1)})
            self._saved = time.monotonic()

    def _tokens(self) -> tuple[int, int]:
        return (0, 0) if self._judge is None else self._judge.judged_tokens


def read_cost(folder: Path) -> Mapping[str, Any] | None:
    """Read what a run cost; None where it does not say, or its file is damaged: it decides nothing."""
    if not (folder / COST).is_file():
        return None
    with suppress(InputError):
        found = read_json(folder / COST, "remove it")
        if all(type(found.get(name)) in (int, float) and 0 <= found[name] < _MOST for name in _NAMES):
            return {name: found[name] for name in _NAMES}
    return None
