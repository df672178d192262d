"""What a merge would do, checked in full before a byte is written."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from rella_gguf.checks import check_model, refuse_shard, shard_paths
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.files import check_output
from rella_gguf.header import Header, TensorInfo, read_header
from rella_gguf.lineage import MERGED, QUANTIZED_FROM_KEYS
from rella_gguf.lora.adapters import named_adapters
from rella_gguf.lora.pairs import LoraAdapter
from rella_gguf.lora.provenance import UNKNOWN, merged_text
from rella_gguf.reader import file_sha256
from rella_gguf.rewrite import SPLIT_KEYS, Rewrite
from rella_gguf.weights import can_decode, can_encode, ggml_type, row_bytes, type_for

MERGE_TYPES = ("keep", "F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K")
"""What the tensors that a merge changes can be put back as; `keep`: each as its own type."""

_WITHOUT = (*SPLIT_KEYS, *QUANTIZED_FROM_KEYS)
"""Metadata that a merged file does not have: it is one file, and no other's copy."""
_IMATRIX = "quantize.imatrix.file"


@dataclass(frozen=True, slots=True)
class Change:
    """A tensor that a merge changes: its shape in GGML order, its ggml type before and after, by which adapters."""

    tensor: str
    shape: tuple[int, ...]
    before: str
    after: str
    adapters: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MergePlan:
    """A merge that can be done: every file is whole and fits, every type can be read and written.

    `digests` are the SHA-256 of the adapters' files, `notes` full sentences about what deserves a warning.
    """

    parts: tuple[Header, ...]
    adapters: tuple[LoraAdapter, ...]
    digests: tuple[str, ...]
    type: str
    changes: tuple[Change, ...]
    rewrite: Rewrite
    notes: tuple[str, ...]

    @property
    def base(self) -> Path:
        """The base model's (first) file."""
        return self.parts[0].path

    @property
    def tensors(self) -> tuple[TensorInfo, ...]:
        """The base's tensors, all parts', in order."""
        return tuple(tensor for part in self.parts for tensor in part.tensors)

    @property
    def copied(self) -> int:
        """Number of tensors that are copied byte for byte."""
        return len(self.rewrite.tensors) - len(self.changes)

    @property
    def size(self) -> int:
        """Size of the merged file in bytes."""
        return len(self.header(UNKNOWN)) + self.rewrite.data_bytes

    def header(self, sha256: str) -> bytes:
        """Return the merged file's header, given the base's SHA-256; whatever that is, it has the same length."""
        adapters = list(zip(self.adapters, self.digests, strict=True))
        return self.rewrite.header({MERGED: merged_text(self.parts[0], sha256, adapters, self.type)})


def plan_merge(
    base: str | Path,
    adapters: Iterable[str | Path | tuple[str | Path, float]],
    out: str | Path | None = None,
    *,
    type: str = "keep",
    force: bool = False,
) -> MergePlan:
    """Check a merge of LoRA adapters, each with its scale, into a base model; write nothing.

    An adapter with the scale 0 changes nothing: the tensors that it alone is for are copied.

    Raises
    ------
    GGUFError
        A file is no such file, is damaged, or does not fit the base; or a type cannot be put back.
    InputError
        A scale is no finite number, an adapter is named twice, the output is there, or is one of the inputs.

    """
    if type not in MERGE_TYPES:
        raise InputError(f"the type is {type!r}", remedy=f"one of {', '.join(MERGE_TYPES)}")
    parts = _open_base(Path(base))
    named = named_adapters(adapters)
    if not named:
        raise InputError("there is no adapter to merge", source=base, remedy="name one or more")
    if out is not None:
        check_output(Path(out), [*(part.path for part in parts), *(path for path, _ in named)], force=force)
        refuse_shard(Path(out))
    tensors = {tensor.name: tensor for part in parts for tensor in part.tensors}
    opened = [LoraAdapter.open(path, scale, parts[0], tensors) for path, scale in named]
    changes = tuple(_changes(parts, opened, type))
    after = {change.tensor: int(ggml_type(change.after)) for change in changes}
    rewrite = Rewrite.of(
        parts[0],
        (replace(tensor, type=after.get(name, tensor.type)) for name, tensor in tensors.items()),
        without=_WITHOUT,
    )
    digests = tuple(file_sha256(adapter.path) for adapter in opened)
    return MergePlan(parts, tuple(opened), digests, type, changes, rewrite, _notes(parts[0], opened, changes, type))


def _open_base(path: Path) -> tuple[Header, ...]:
    first = read_header(shard_paths(path)[0])
    if first.kind == "adapter":
        raise GGUFError("is an adapter, not a base model", source=path, remedy="name the base first, then adapters")
    parts = (check_model(path), *(read_header(part) for part in shard_paths(path)[1:]))
    names = [tensor.name for part in parts for tensor in part.tensors]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise GGUFError(f"has two tensors {twice}", source=path, remedy="the file is damaged")
    return parts


def _changes(parts: Sequence[Header], adapters: Sequence[LoraAdapter], wanted: str) -> Iterable[Change]:
    names = {tensor.name for part in parts for tensor in part.tensors}
    for part in parts:
        for tensor in part.tensors:
            by = tuple(a.path.name for a in adapters if a.scale != 0 and tensor.name in a.pairs)
            if not by:
                continue
            before = tensor.type_name
            scale = tensor.name.removesuffix(".weight") + ".scale"
            if not can_decode(before) or not row_bytes(before, tensor.shape[0]) or scale in names:
                reason = f"the scale {scale} beside it" if scale in names else f"the type {before}"
                raise GGUFError(
                    f"{tensor.name} has {reason}, which cannot be merged into",
                    source=part.path,
                    remedy="give the base in another quantisation, or apply the adapter at run time",
                )
            after = before if wanted == "keep" else type_for(wanted, tensor.shape[0])
            if not can_encode(after):
                raise GGUFError(
                    f"{tensor.name} has the type {before}, which cannot be put back without an importance matrix",
                    source=part.path,
                    remedy="choose another with --type, such as Q4_K",
                )
            yield Change(tensor.name, tensor.shape, before, after, by)


def _notes(base: Header, adapters: Sequence[LoraAdapter], changes: Sequence[Change], wanted: str) -> tuple[str, ...]:
    notes = []
    for adapter in adapters:
        if adapter.scale == 0:
            notes.append(f"{adapter.path.name} has the scale 0: it changes nothing")
        if adapter.norms:
            notes.append(
                f"{adapter.path.name}: {adapter.norms} norm vectors are left out, as llama.cpp leaves them out"
            )
    for name in dict.fromkeys(change.after for change in changes if wanted not in ("keep", change.after)):
        number = sum(change.after == name for change in changes)
        notes.append(
            f"{number} of {len(changes)} tensors become {name}: their rows are no multiple of {wanted}'s blocks"
        )
    kinds = dict.fromkeys(change.after for change in changes if change.after not in ("F32", "F16", "BF16"))
    if kinds and _IMATRIX in base.metadata:
        notes.append(
            f"the base was quantised with an importance matrix; the tensors changed ({', '.join(kinds)}) are not"
        )
    elif any(kind.startswith("IQ") for kind in kinds):
        notes.append(f"the tensors changed ({', '.join(kinds)}) are quantised without an importance matrix")
    return tuple(notes)
