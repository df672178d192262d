"""What trials found, kept beside the cache of texts: it holds no text, so it stays when that is cleared or not used."""

import logging
import os
import re
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Self

from rella_cpp.engine.settings import EngineSettings
from rella_cpp.errors import InputError
from rella_cpp.storage.artifacts import digest, read_json, write_json
from rella_cpp.storage.folders import own_folder

logger = logging.getLogger("rella_cpp")

_FORMAT = 1
_FOLDER = "trials"
_LARGEST = 1 << 20  # bytes of a verdict
_UNREADABLE = (OSError, InputError, KeyError, TypeError, ValueError)
PAGE = "docs/install.md"
_ITS_OWN = ("SIGABRT", "SIGBUS", "SIGFPE", "SIGILL", "SIGSEGV", "SIGSYS", "SIGTRAP", "no progress", "status")
"""How deaths begin that llama.cpp itself causes. Other signals come from outside, for example when memory runs out."""
NO_MEMORY = re.compile(
    r"bad_alloc|alloc\w* (?:of size .*)?failed|failed to alloc|out of memory|MemoryError|failed to map segment|"
    r"cannot allocate memory|thread creation failed",
    re.IGNORECASE,
)
"""What a process that lacks memory says last."""
_REMEDY = f"the file may be damaged; if other models fail too, build llama.cpp again ({PAGE})"
_MORE_MEMORY = "memory may have run out: free some, lower --ctx, or take a smaller model"
_REMEDIES = {
    "SIGILL": f"the build may be for another processor: build llama.cpp on this machine ({PAGE})",
    "SIGKILL": _MORE_MEMORY,
}
"""What to do about a signal, where it is not the usual."""


@dataclass(frozen=True, slots=True)
class Death:
    """How llama.cpp died on a model.

    `signal` is a signal's name, or says that nothing went on; `stage` what was being done; `words` are llama.cpp's
    last ones, often a failed assertion; `without` is what was switched off already.
    """

    signal: str
    stage: str
    words: str = ""
    without: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Write it for a message."""
        return f"{self.signal} while {self.stage}" + (f": {self.words}" if self.words else "")

    @property
    def comes_again(self) -> bool:
        """Whether the next try would end the same."""
        return self.signal.startswith(_ITS_OWN) and not NO_MEMORY.search(self.words)

    @property
    def remedy(self) -> str:
        """What to do about it."""
        return _MORE_MEMORY if NO_MEMORY.search(self.words) else _REMEDIES.get(self.signal, _REMEDY)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What must be switched off so that llama.cpp lives, by name with the settings that do so, and how it died before.

    `switched_off` is empty where it lives with the settings as they are.
    """

    switched_off: Mapping[str, Mapping[str, Any]]
    deaths: tuple[Death, ...] = ()

    def applied(self, settings: EngineSettings) -> EngineSettings:
        """Return the settings with which it lives."""
        for changes in self.switched_off.values():
            settings = replace(settings, **changes)
        return settings

    def as_dict(self) -> dict[str, object]:
        """Return it as JSON."""
        deaths = [[death.signal, death.stage, death.words, list(death.without)] for death in self.deaths]
        return {"switched_off": self.switched_off, "deaths": deaths}

    @classmethod
    def of(cls, found: Mapping[str, Any]) -> Self:
        """Read it back.

        Raises
        ------
        KeyError, TypeError, ValueError, InputError
            It is none.

        """
        deaths = tuple(Death(signal, stage, words, tuple(off)) for signal, stage, words, off in found["deaths"])
        verdict = cls(dict(found["switched_off"]), deaths)
        verdict.applied(EngineSettings())
        if verdict.switched_off and not deaths:
            raise ValueError("nothing was switched off without a death")
        return verdict


class Verdicts:
    """Verdicts in a folder, one small JSON file each, by what they hold for.

    Parameters
    ----------
    folder
        Where they are kept; made when the first one is.

    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / _FOLDER

    @classmethod
    def default(cls) -> Self:
        """Keep them in `$RELLA_STATE`, else in the platform's folder for state."""

        def usual() -> Path:
            from platformdirs import user_state_path

            return user_state_path("rella", appauthor=False)

        return cls(own_folder("RELLA_STATE", usual))

    def find(self, tried: Mapping[str, object]) -> Verdict | None:
        """Return the verdict on what was tried; None where there is none, or a damaged one.

        Parameters
        ----------
        tried
            All that a verdict depends on, as JSON: model, build, processor, settings.

        """
        for _, verdict in self._read([self._path(tried)]):
            return verdict
        return None

    def matching(self, **facts: object) -> list[tuple[Mapping[str, Any], Verdict]]:
        """Return what was tried with these facts, and the verdicts on it."""
        found = self._read(sorted(self._folder.glob("*.json")))
        return [(tried, verdict) for tried, verdict in found if facts.items() <= tried.items()]

    def keep(self, tried: Mapping[str, object], verdict: Verdict) -> None:
        """Keep a verdict; where the folder cannot be written, say so: the next start tries again."""
        try:
            self._folder.mkdir(parents=True, mode=0o700, exist_ok=True)
            # Another process or thread may find the same now.
            own = self._path(tried).with_suffix(f".{os.getpid()}-{threading.get_ident()}")
            write_json(own, {"format": _FORMAT, "tried": tried, **verdict.as_dict()})
            try:
                own.replace(self._path(tried))
            except OSError:
                own.unlink()
                raise
        except (OSError, InputError) as error:
            reason = (error.strerror or error) if isinstance(error, OSError) else error
            logger.warning(
                "what the trial found cannot be kept in %s (%s), so each start tries again: name another folder in "
                "RELLA_STATE",
                *(self._folder, reason),
            )

    def _path(self, tried: Mapping[str, object]) -> Path:
        return self._folder / f"{digest([_FORMAT, tried])[:32]}.json"

    def _read(self, paths: list[Path]) -> Iterator[tuple[Mapping[str, Any], Verdict]]:
        for path in paths:
            try:
                if not path.is_file() or path.stat().st_size > _LARGEST:
                    continue
                found: dict[str, Any] = read_json(path, "")
                if found["format"] == _FORMAT:
                    yield found["tried"], Verdict.of(found)
            except _UNREADABLE:  # missing, damaged or of another version: try again
                continue
