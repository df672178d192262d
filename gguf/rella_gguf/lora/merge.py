"""Merge LoRA adapters into a base model, in one pass, a block of rows at a time."""

import math
import os
import shutil
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rella_gguf.errors import InputError
from rella_gguf.files import disk_full, new_file
from rella_gguf.lora.blocks import Piece, blocks_of
from rella_gguf.lora.merge_plan import MergePlan, plan_merge
from rella_gguf.lora.provenance import UNKNOWN, strangers
from rella_gguf.reader import CHUNK, DigestingReader, Reader, combined

Work = Callable[[], Piece]
Progress = Callable[[str, int, int], None]
"""Called with the task's name, the megabytes done and their total."""

_MOST_THREADS = 8
_KEPT = 0.9  # below that, less is kept than a user would think


@dataclass(frozen=True, slots=True)
class MergedTensor:
    """A tensor that was changed: as in `Change`, and by how much.

    `relative_change` is ‖Δ‖ / ‖W‖ of what the adapters add to the base's weights (1 where those are all zero);
    `rounding` is the error of putting the sum into its type over ‖Δ‖. `kept` is how much of Δ is there after that: 1
    all, 0 none (every weight went back to where it was).
    """

    tensor: str
    shape: tuple[int, ...]
    before: str
    after: str
    adapters: tuple[str, ...]
    relative_change: float
    rounding: float
    kept: float


@dataclass(frozen=True, slots=True)
class Merge:
    """A merged model that was written.

    `base_sha256` is of the base's file (of a split one: of its parts' SHA-256s), as in the metadata of `out`; `copied`
    counts the tensors copied byte for byte; `notes` are about what deserves a warning.
    """

    out: str
    base: str
    base_sha256: str
    type: str
    changes: tuple[MergedTensor, ...]
    copied: int
    bytes: int
    notes: tuple[str, ...]


def merge_adapters(
    base: str | Path,
    adapters: Iterable[str | Path | tuple[str | Path, float]],
    out: str | Path,
    *,
    type: str = "keep",
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> Merge:
    """Write the base model with LoRA adapters, each with its scale, added to its weights.

    Tensors that no adapter touches are copied byte for byte, and so are rows to which nothing is added and whose type
    stays. The others are computed in float32. The result does not depend on `threads`.

    Parameters
    ----------
    base
        A GGUF model; of a split one, its first part.
    adapters
        GGUF LoRA adapters and scales; the same sum as at run time, scale · alpha / rank · B · A of each.
    out
        The merged model, in one file.
    type
        What the tensors changed become: `keep` (each its own type) or F32, F16, Q8_0, Q4_0, Q4_K, Q6_K.
    force
        Overwrite what is there.
    threads
        How many quantize side by side; else as many as there are cores, up to 8.
    progress
        Told the megabytes done.

    Raises
    ------
    GGUFError
        As `plan_merge`; or weights are not finite, or too large for the type.
    InputError
        As `plan_merge`; or the output cannot be written.

    """
    plan = plan_merge(base, adapters, out, type=type, force=force)
    return carry_out(plan, Path(out), threads, progress)


def carry_out(plan: MergePlan, out: Path, threads: int | None = None, progress: Progress | None = None) -> Merge:
    """Write the merge that was planned.

    Raises
    ------
    GGUFError
        Weights are not finite, or too large for the type; or an input was changed meanwhile.
    InputError
        The output cannot be written.

    """
    from threadpoolctl import threadpool_limits

    size = plan.size
    _check_space(out, size)
    workers = threads or min(os.cpu_count() or 1, _MOST_THREADS)
    sums = {change.tensor: np.zeros(4) for change in plan.changes}
    with new_file(out) as file, ExitStack() as stack:
        readers = [stack.enter_context(DigestingReader(part.path)) for part in plan.parts]
        # Each of our threads multiplies by itself: BLAS's own threads would wait for one another, twenty times as long.
        stack.enter_context(threadpool_limits(1, "blas"))
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        written = file.write(plan.header(UNKNOWN))
        for name, piece in _in_order(_pieces(plan, readers), pool, ahead=workers + 1):
            written += file.write(piece.data)
            if name in sums:
                sums[name] += piece.sums
            if progress is not None:
                progress("merging", written >> 20, size >> 20)
        file.seek(0)
        sha256 = combined([reader.sha256() for reader in readers])
        file.write(plan.header(sha256))
    changes = tuple(
        MergedTensor(c.tensor, c.shape, c.before, c.after, c.adapters, *_measured(*sums[c.tensor]))
        for c in plan.changes
    )
    notes = (*plan.notes, *strangers(plan.parts[0], sha256, plan.adapters), *_lost(changes))
    return Merge(str(out), str(plan.base), sha256, plan.type, changes, plan.copied, size, notes)


def _check_space(out: Path, size: int) -> None:
    """Refuse where the disk is too small, rather than after minutes of work."""
    try:
        free = shutil.disk_usage(out.parent).free
    except OSError:
        return
    if free < size:
        raise InputError(
            f"needs {size / 1e6:,.0f} MB, and the disk has {free / 1e6:,.0f} MB left",
            source=out,
            remedy="free space, or name another place",
        ) from disk_full()


def _in_order(
    work: Iterable[tuple[str, Piece | Work]], pool: ThreadPoolExecutor, ahead: int
) -> Iterator[tuple[str, Piece]]:
    """Do the work on the pool's threads, a few pieces ahead, and yield what comes of it in order.

    Of A, B, C and D with 1 ahead: A and B are handed to the pool, A is awaited and yielded; C is handed, B is yielded;
    D is handed, C is yielded; D. So no more than 2 are in memory, and the file is written in its order, whichever
    thread is done first.
    """
    waiting: deque[tuple[str, Piece | Future[Piece]]] = deque()
    for name, item in work:
        waiting.append((name, item if isinstance(item, Piece) else pool.submit(item)))
        if len(waiting) > ahead:
            yield _done(*waiting.popleft())
    while waiting:
        yield _done(*waiting.popleft())


def _done(name: str, item: "Piece | Future[Piece]") -> tuple[str, Piece]:
    return name, item if isinstance(item, Piece) else item.result()


def _pieces(plan: MergePlan, readers: list[DigestingReader]) -> Iterator[tuple[str, Piece | Work]]:
    """Go through the base's tensors: pieces that are copied, and the work that makes those changed."""
    changed = {change.tensor for change in plan.changes}
    after = iter(plan.rewrite.tensors)
    with ExitStack() as stack:
        sources = [stack.enter_context(Reader(adapter.path)) for adapter in plan.adapters]
        loras = list(zip(plan.adapters, sources, strict=True))
        for part, reader in zip(plan.parts, readers, strict=True):
            for tensor in part.tensors:
                put_back, start = next(after), part.data_start + tensor.offset
                if tensor.name in changed:
                    using = [(a, source) for a, source in loras if a.scale != 0 and tensor.name in a.pairs]
                    for block in blocks_of(reader, start, tensor, put_back, using):
                        yield tensor.name, block
                else:
                    for at in range(0, tensor.nbytes, CHUNK):
                        yield tensor.name, Piece(reader.read(start + at, min(CHUNK, tensor.nbytes - at)))
                yield "", Piece(plan.rewrite.padding(put_back))


def _measured(weight: float, moved: float, error: float, along: float) -> tuple[float, float, float]:
    """Return the relative change, the rounding, and what is kept, from sums.

    Examples
    --------
    To a weight of 1 an adapter adds 0.25, in a type that has whole numbers alone: 1.25 becomes 1, the error is 0.25.
    The relative change is 0.25 / 1, the rounding 0.25 / 0.25, and of the 0.25 nothing is kept.

    >>> _measured(weight=1.0, moved=0.25**2, error=0.25**2, along=0.25 * 0.25)
    (0.25, 1.0, 0.0)

    """
    relative = math.sqrt(moved / weight) if weight else float(moved > 0)
    return (relative, math.sqrt(error / moved), 1 - along / moved) if moved else (relative, 0.0, 1.0)


def _lost(changes: Iterable[MergedTensor]) -> Iterator[str]:
    """Say where rounding takes back what the adapters add."""
    lost = [change for change in changes if change.kept < _KEPT]
    if lost:
        kinds = dict.fromkeys(change.after for change in lost)
        finer = "F32" if "F16" in kinds else "F16" if kinds.keys() <= {"BF16", "Q8_0"} else "Q8_0 or F16"
        yield (
            f"in {len(lost)} of the tensors changed, rounding to {', '.join(kinds)} keeps only part of what the "
            f"adapters add (from {min(change.kept for change in lost):.0%}): --type {finer} keeps more"
        )
