"""Stands in for a build of llama.cpp that dies: each child process that tries a model imports this first."""

import os
from pathlib import Path
from textwrap import indent

import pytest

_SITE = """
import os, signal, time
import llama_cpp as lib

with open({starts!r}, "a") as file:
    file.write("start\\n")
extra = flash = True
load, init, decode, adapter = (
    lib.llama_model_load_from_file, lib.llama_init_from_model, lib.llama_decode, lib.llama_adapter_lora_init
)

def die(number=signal.SIGSEGV):
    os.kill(os.getpid(), number)
    time.sleep(60)

def on_load(path, params):
    global extra
    extra = bool(params.use_extra_bufts)
    {on_load}
    return load(path, params)

def on_init(model, params):
    global flash
    flash = params.flash_attn_type != lib.LLAMA_FLASH_ATTN_TYPE_DISABLED
    return init(model, params)

def on_decode(context, batch):
    {on_decode}
    return decode(context, batch)

def on_adapter(model, path):
    {on_adapter}
    return adapter(model, path)

lib.llama_model_load_from_file, lib.llama_init_from_model = on_load, on_init
lib.llama_decode, lib.llama_adapter_lora_init = on_decode, on_adapter
"""


class BrokenBuild:
    """Counts the children that were started."""

    def __init__(self, folder: Path) -> None:
        self._starts = folder / "starts"

    @property
    def starts(self) -> int:
        return len(self._starts.read_text().splitlines()) if self._starts.exists() else 0


def break_build(
    folder: Path,
    patch: pytest.MonkeyPatch,
    *,
    on_load: str = "pass",
    on_decode: str = "pass",
    on_adapter: str = "pass",
) -> BrokenBuild:
    """Let the children of this test run these statements at each call, and keep verdicts to itself."""
    folder.mkdir()
    site = _SITE.format(starts=str(folder / "starts"), on_load=on_load, on_decode=on_decode, on_adapter=on_adapter)
    site = f"import sys\nif any('trial.probe' in word for word in sys.orig_argv):\n{indent(site, '    ')}"
    (folder / "sitecustomize.py").write_text(site, encoding="utf-8")
    patch.setenv("PYTHONPATH", os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH")))))
    patch.setenv("RELLA_STATE", str(folder / "state"))
    return BrokenBuild(folder)
