"""Refuse a file that cannot serve, with the reason, before llama.cpp sees it."""

import re
from pathlib import Path

from rella_gguf.errors import GGUFError
from rella_gguf.header import Header, read_header

_SHARD = re.compile(r"^(?P<stem>.+)-(?P<number>\d{5})-of-(?P<count>\d{5})\.gguf$")


def shard_paths(path: str | Path) -> tuple[Path, ...]:
    """All files of the model that `path` begins: itself, or every `NAME-0000N-of-0000M.gguf` of a split one.

    Raises
    ------
    GGUFError
        `path` is a later shard of a split model.

    """
    path = Path(path)
    match = _SHARD.match(path.name)
    if match is None:
        return (path,)
    stem, count = match["stem"], int(match["count"])
    if int(match["number"]) != 1:
        raise GGUFError(
            f"is part {int(match['number'])} of a split model",
            source=path,
            remedy=f"give its first part, {stem}-00001-of-{count:05d}.gguf",
        )
    return tuple(path.with_name(f"{stem}-{number:05d}-of-{count:05d}.gguf") for number in range(1, count + 1))


def check_model(path: str | Path) -> Header:
    """Check that `path` is a whole GGUF model and return its header (a split model's: of its first part).

    Raises
    ------
    GGUFError
        It is missing, no GGUF, truncated, an adapter, a vocabulary, or of another kind.

    """
    header, *rest = [read_header(shard) for shard in shard_paths(path)]
    if header.kind != "model":
        remedy = {
            "adapter": "give the base model as --model and this file as --lora",
            "vocabulary": "it holds a tokenizer and no weights; give the full model",
        }.get(header.kind, "give a language model")
        raise GGUFError(f"is a GGUF of the kind {header.kind}, not a model", source=header.path, remedy=remedy)
    for part in (header, *rest):
        check_complete(part)
    return header


def check_adapter(path: str | Path, base: Header) -> Header:
    """Check that `path` is a whole GGUF LoRA adapter whose tensors fit the model `base`; return its header.

    Raises
    ------
    GGUFError
        It is no adapter, or made for another architecture or for tensors of another size.

    """
    header = read_header(path)
    if header.kind != "adapter" or header.text("adapter.type") != "lora":
        found = "a full model" if header.kind == "model" else f"a GGUF of the kind {header.kind}"
        raise GGUFError(f"is {found}, not a LoRA adapter", source=path, remedy="give a GGUF adapter")
    check_complete(header)
    if header.architecture != base.architecture:
        raise GGUFError(
            f"was made for the architecture {header.architecture}, the model is {base.architecture}",
            source=path,
            remedy="give the base model that the adapter was trained on",
        )
    shapes = {tensor.name: tensor.shape for part in _parts(base) for tensor in part.tensors}
    for tensor in header.tensors:
        name, _, side = tensor.name.rpartition(".lora_")
        if side not in ("a", "b"):
            continue  # norm weights and the like: llama.cpp decides
        if len(shapes.get(name, ())) < 2 or len(tensor.shape) < 2:
            raise GGUFError(
                f"adapts {name}, which is no weight matrix of the model",
                source=path,
                remedy="give the base model that the adapter was trained on",
            )
        # lora_a is (inputs, rank) and lora_b (rank, outputs) in GGML order; token_embd is stored the other way round.
        expected = shapes[name][0] if side == "a" else shapes[name][1]
        found_size = tensor.shape[0] if side == "a" else tensor.shape[-1]
        if name != "token_embd.weight" and found_size != expected:
            raise GGUFError(
                f"{tensor.name} is made for a width of {found_size}, the model's {name} has {expected}",
                source=path,
                remedy="give the base model that the adapter was trained on",
            )
    return header


def check_complete(header: Header) -> None:
    """Check that the file holds all the bytes that its tensor table promises.

    Raises
    ------
    GGUFError
        The file is shorter than that.

    """
    ends = (header.data_start + tensor.offset + tensor.nbytes for tensor in header.tensors)
    needed = max(ends, default=0)
    if header.size < needed:
        raise GGUFError(
            f"has {header.size:,} bytes where its tensors need {needed:,}",
            source=header.path,
            remedy="the file is truncated: download it again",
        )


def _parts(base: Header) -> list[Header]:
    return [base, *(read_header(path) for path in shard_paths(base.path)[1:])]
