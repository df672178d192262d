"""How far a training is, in a file, so that a killed one goes on to the same bytes; and the adapter's folder."""

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model_state_dict, set_peft_model_state_dict

ELSEWHERE = ("rows", "out", "base", "valid_only")  # what may have another name when a training goes on


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The docstring as it stands, and each option's default."""


def fingerprint(path: Path) -> str:
    """Return a file's SHA-256; of a folder, its name."""
    if path.is_dir():
        return path.resolve().name
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def save_adapter(model: Any, folder: Path, base: Path, manifest: dict[str, Any]) -> None:
    """Save the adapter, with the record by which `rella` knows what it was tuned on."""
    model.save_pretrained(folder, save_embedding_layers=False)
    known: dict[str, str] = {"name": base.name}
    if base.is_file():
        known["fingerprint"] = fingerprint(base)
    (folder / "rella.json").write_text(json.dumps({**manifest, "base": known}, indent=1), encoding="utf-8")


def run(main: Callable[[], None]) -> None:
    """Run a command; what it refuses is one line, and exit code 2."""
    try:
        main()
    except SystemExit as refused:
        if not isinstance(refused.code, str):
            raise
        print(refused.code, file=sys.stderr)
        raise SystemExit(2) from None


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
        state = torch.load(self.path, weights_only=True)
        if state["settings"] != self.settings:
            raise SystemExit(f"{self.path.parent}: holds a training with other settings; name another folder")
        set_peft_model_state_dict(self.model, state["adapter"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seen, self.best, self.facts = state["seen"], state["best"], state["facts"]

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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, self.path.with_suffix(".part"))
        os.replace(self.path.with_suffix(".part"), self.path)
