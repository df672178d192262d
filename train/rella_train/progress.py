"""How far a training is, in a file, so that a killed one goes on to the same bytes; and the adapter's folder."""

import argparse
import hashlib
import io
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, NoReturn

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict
from safetensors import SafetensorError

ELSEWHERE = ("rows", "out", "base", "valid_only")  # what may have another name when a training goes on
AGAIN = "make room, and run the same command again: it goes on from the last checkpoint there is"
DAMAGES = (EOFError, LookupError, RuntimeError, TypeError, UnpicklingError, ValueError)  # what torch says of a bad file


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it stands, and each option's default."""


class Parser(argparse.ArgumentParser):
    """A parser that refuses in one line."""

    def error(self, message: str) -> NoReturn:
        """Refuse what was given, as `run` says it."""
        raise SystemExit(f"{message}; --help tells what there is")


def fingerprint(path: Path) -> str:
    """Return a file's SHA-256; of a folder, its name."""
    if path.is_dir():
        return path.resolve().name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def reason(error: Exception) -> str:
    """Say in a few words what went wrong."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    said = re.split(r"\.\s|\n", str(error).strip())[0][:200]
    return f"{type(error).__name__}: {said}" if said else type(error).__name__


@contextmanager
def writing(folder: Path, remedy: str) -> Iterator[None]:
    """Turn the failure to write into a folder into one line."""
    try:
        yield
    except (OSError, SafetensorError) as error:
        raise SystemExit(f"{folder}: cannot be written to ({reason(error)}); {remedy}") from None


def try_folder(folder: Path) -> None:
    """Refuse a folder that cannot be written to, before anything is computed for it; leave nothing there."""
    with writing(folder, "name another folder"):
        new = [each for each in (folder, *folder.parents) if not each.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with tempfile.NamedTemporaryFile(dir=folder) as file:
                file.write(bytes(4096))
        finally:
            for each in new:
                each.rmdir()


def save_adapter(model: Any, folder: Path, base: Path, manifest: dict[str, Any]) -> None:
    """Save the adapter, with the record by which `rella` knows what it was tuned on."""
    known: dict[str, str] = {"name": base.name}
    if base.is_file():
        known["fingerprint"] = fingerprint(base)
    with writing(folder, AGAIN):
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "rella.json").write_text(json.dumps({**manifest, "base": known}, indent=1), encoding="utf-8")


def run(main: Callable[[], None]) -> None:
    """Run a command; what it refuses, and a file that cannot be read, is one line, and exit code 2."""
    try:
        main()
    except SystemExit as refused:
        if not isinstance(refused.code, str):
            raise
        said = refused.code
    except OSError as error:
        if error.filename is None:
            raise
        said = f"{error.filename}: {error.strerror}; see that it can be read"
    else:
        return
    print(said, file=sys.stderr)
    raise SystemExit(2)


def learning_rate(highest: float, seen: float, total: int) -> float:
    """Return the rate after so much of the training: up to the highest over a twentieth, then down in a line to 0."""
    share = seen / total
    return highest * min(share / 0.05, (1 - share) / 0.95)


class Progress:
    """How far the training is; in a file from check to check, so that a killed run goes on.

    `rows` names what is trained on, by its contents; `worst` is what any check betters. `fresh` goes on from nothing.
    `facts` is what else is kept: whatever a run finds out once.
    """

    def __init__(
        self, given: argparse.Namespace, rows: Any, model: Any, optimizer: Any, worst: float, *, fresh: bool = False
    ) -> None:
        self.path = given.out / "training.pt"
        same = {name: str(value) for name, value in vars(given).items() if name not in ELSEWHERE}
        self.settings = same | {"base": fingerprint(given.base), "rows": json.dumps(rows)}
        self.model, self.optimizer = model, optimizer
        self.seen, self.best = 0, worst
        self.facts: dict[str, Any] = {}
        if self.path.exists() and not fresh:
            self.load()

    def load(self) -> None:
        """Go on from the file."""
        whole = io.BytesIO(self.path.read_bytes())
        try:
            state = torch.load(whole, weights_only=True)
            if state["settings"] != self.settings:
                raise SystemExit(f"{self.path.parent}: holds a training with other settings; name another folder")
            set_peft_model_state_dict(self.model, state["adapter"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.seen, self.best, self.facts = state["seen"], state["best"], state["facts"]
        except DAMAGES as error:
            raise SystemExit(f"{self.path}: is damaged ({reason(error)}); remove it to begin anew") from None

    def save(self) -> None:
        """Write the file, in place of the last one."""
        state = {
            "settings": self.settings,
            "seen": self.seen,
            "best": self.best,
            "facts": self.facts,
            "adapter": get_peft_model_state_dict(self.model, save_embedding_layers=False),
            "optimizer": self.optimizer.state_dict(),
        }
        whole, part = io.BytesIO(), self.path.with_suffix(".part")
        torch.save(state, whole)  # which, writing a file itself, hides why it could not
        with writing(self.path.parent, AGAIN):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(whole.getbuffer())
            os.replace(part, self.path)
