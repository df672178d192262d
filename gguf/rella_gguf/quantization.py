"""Write a model in another quantization, with llama.cpp's own quantizer."""

import hashlib
import os
import shutil
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from rella_gguf.checks import check_model, refuse_shard, shard_paths
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.file_types import file_type
from rella_gguf.files import check_output, disk_full, new_file, writing
from rella_gguf.header import TensorInfo, read_header
from rella_gguf.inspection import TensorGroup, inspect
from rella_gguf.quantizer import ALIGNMENT, Job, run
from rella_gguf.reader import combined
from rella_gguf.rewrite import padded

Progress = Callable[..., None]
"""Called with a task's name, what is done and the total, as work goes on."""

"""Metadata key of a quantized file: the SHA-256 of the file it was made from."""

_MOST_THREADS = 512
_BLOCK = 1 << 24


def _no_progress(_task: str, _done: int, _total: int) -> None:
    """Show nothing."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What a quantization would make of a model: each tensor's type, the bytes of the whole file, the fallbacks."""

    types: Mapping[str, str]
    bytes: int
    fallbacks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quantization:
    """A quantized file that was written.

    Attributes
    ----------
    source, out
        The files.
    type
        The quantization asked for.
    source_bytes, bytes
        Their sizes (of a split source: of all its parts).
    quantized_from
        SHA-256 of the source, as in the metadata of `out` (of a split one: of its parts' SHA-256s).
    tensors
        What is in `out`, by tensor type.
    fallbacks
        Tensors whose rows do not divide into the blocks of the type meant for them, by the type they got instead.
    from_type
        The type that most bytes of the source had.
    requantized
        Whether that was a quantized one.
    changed
        Tensors that got another type.

    """

    source: str
    out: str
    type: str
    source_bytes: int
    bytes: int
    quantized_from: str
    tensors: tuple[TensorGroup, ...]
    fallbacks: Mapping[str, int]
    from_type: str
    requantized: bool
    changed: int

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know of it, as sentences without their full stop."""
        notes = []
        if not self.changed:
            notes.append("every tensor had the type asked for already: nothing was quantised")
        elif self.requantized:
            notes.append(
                f"the source was quantised already ({self.from_type}): the new file is at most as good as that one"
            )
        if self.fallbacks:
            made = ", ".join(f"{number} × {name}" for name, number in self.fallbacks.items())
            notes.append(f"rows that do not divide into the blocks of the type meant for them got another: {made}")
        return tuple(notes)


def quantize(
    source: str | Path,
    out: str | Path,
    type: str,
    *,
    threads: int | None = None,
    force: bool = False,
    progress: Progress = _no_progress,
) -> Quantization:
    """Write `source` as `out`, one file, with its weights in the quantization `type`.

    The source may be quantized itself (it can get no better by that), or split. F32, F16 and BF16 dequantize.

    Raises
    ------
    GGUFError
        The source is no whole model, or llama.cpp cannot quantize it.
    InputError
        The type is unknown or needs an importance matrix; `out` is there already, is the source, has the name of a
        part of a split model, or cannot be written.
    RellaError
        llama-cpp-python is unusable.

    """
    source, out, wanted = Path(source), Path(out), file_type(type)
    threads = usable_threads(threads)
    check_model(source)
    parts = shard_paths(source)
    check_output(out, parts, force=force)
    refuse_shard(out)
    with writing(out):  # a folder that is not there is found before anything is read
        free = shutil.disk_usage(out.parent).free
    planned = plan(source, wanted.name)
    check_space(free, planned.bytes, out, "free space, or name another place")
    fingerprint = _fingerprint(parts, progress)
    write_quantized(source, out, wanted.name, threads=threads, quantized_from=fingerprint, progress=progress)
    before, after = inspect(source), inspect(out)
    types = {name: kind for name, _, kind in before.tensors}
    return Quantization(
        source=str(source),
        out=str(out),
        type=wanted.name,
        source_bytes=before.file_bytes,
        bytes=after.file_bytes,
        quantized_from=fingerprint,
        tensors=after.quantisation,
        fallbacks=dict(Counter(planned.fallbacks)),
        from_type=main_type(before.quantisation),
        requantized=is_quantized(main_type(before.quantisation)),
        changed=sum(types[name] != kind for name, _, kind in after.tensors),
    )


def write_quantized(
    source: Path,
    out: Path,
    type: str,
    *,
    threads: int | None = None,
    quantized_from: str = "",
    progress: Progress = _no_progress,
) -> None:
    """Write `source` as `out`, whatever is there, with no look at the disk's room; see `quantize`.

    Raises
    ------
    GGUFError
        The source is no whole model, or llama.cpp cannot quantize it.
    InputError
        The type is unknown or needs an importance matrix; `out` cannot be written.
    RellaError
        llama-cpp-python is unusable.

    """
    wanted, threads = file_type(type), usable_threads(threads)
    check_model(source)
    with new_file(out) as file:
        job = Job(source, Path(file.name), wanted, threads, quantized_from)
        try:
            run(job, lambda done, total: progress(f"quantising to {wanted.name}", done, total))
            check_model(file.name)
        except InputError as error:
            if error.source != file.name:
                raise
            raise InputError(error.finding, source=out, remedy="free space, or name another place") from None


def plan(source: str | Path, type: str) -> Plan:
    """Ask llama.cpp what a quantization would make of a model; nothing is written, no weight is read.

    Raises
    ------
    GGUFError
        The source is no whole model, or llama.cpp cannot quantize it.
    InputError
        The type is unknown or needs an importance matrix.
    RellaError
        llama-cpp-python is unusable.

    """
    source, wanted = Path(source), file_type(type)
    check_model(source)
    headers = [read_header(part) for part in shard_paths(source)]
    outcome = run(Job(source, source, wanted, threads=1, dry=True), lambda _done, _total: None)
    size = sum(header.data_start for header in headers)
    for header in headers:
        for tensor in header.tensors:
            if tensor.name not in outcome.types:
                raise GGUFError(f"llama.cpp knows no tensor {tensor.name}", source=header.path, remedy="inspect it")
            size += bytes_as(tensor, outcome.types[tensor.name])
    return Plan(outcome.types, size, outcome.fallbacks)


def usable_threads(threads: int | None) -> int:
    """Check a number of threads; without one, take as many as there are processors for this process.

    Raises
    ------
    InputError
        It is out of range.

    """
    if threads is None:
        there = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        return min(there, _MOST_THREADS)
    if not 1 <= threads <= _MOST_THREADS:
        raise InputError(f"threads is {threads}", remedy=f"give 1 to {_MOST_THREADS}")
    return threads


def check_space(free: int, needed: int, source: Path, remedy: str) -> None:
    """Refuse a place, `source`, with too little room.

    Raises
    ------
    InputError
        There are fewer bytes free than needed.

    """
    if free < needed:
        raise InputError(
            f"needs {needed / 1e6:,.0f} MB where {free / 1e6:,.0f} MB are free",
            source=source,
            remedy=remedy,
        ) from disk_full()


def main_type(groups: tuple[TensorGroup, ...]) -> str:
    """Name the tensor type that most bytes have."""
    return max(groups, key=lambda group: group.bytes).type


def is_quantized(type_name: str) -> bool:
    """Tell whether a tensor type keeps weights in blocks."""
    return type_name not in ("F64", "F32", "F16", "BF16")


def bytes_as(tensor: TensorInfo, type_name: str) -> int:
    """Count the bytes that a tensor takes in a file when it has another type."""
    from gguf.constants import GGMLQuantizationType

    return padded(replace(tensor, type=GGMLQuantizationType[type_name].value).nbytes, ALIGNMENT)


def _fingerprint(parts: tuple[Path, ...], progress: Progress) -> str:
    """SHA-256 of a file in hexadecimal, of a split model that of its parts' SHA-256s."""
    digests = []
    for part in parts:
        try:
            digests.append(_digest(part, progress))
        except OSError as error:
            raise GGUFError(error.strerror or str(error), source=part, remedy="give a readable GGUF file") from None
    return combined(digests)


def _digest(part: Path, progress: Progress) -> str:
    digest, size, done = hashlib.sha256(), part.stat().st_size, 0
    with part.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
            done += len(block)
            progress("reading the source for its fingerprint, MiB", done >> 20, size >> 20)
    return digest.hexdigest()
