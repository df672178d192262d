"""The exact decode plan: segments in order, one sequence, whole leading segments kept from call to call.

llama.cpp is not batch-invariant: the same token gets other last bits in a batch of another shape. Cut at fixed
borders and decoded one segment at a time, a prompt meets the same shapes whoever comes before it, and a prefix that
is kept holds the very bits that computing it again would give.
"""

import ctypes
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.native import interrupted, raise_interruption, recent_errors
from rella_cpp.engine.segments import Prompt, Segment
from rella_cpp.errors import EngineError

BATCH = 512
"""Longest piece of a segment decoded in one call; longer segments are cut every so many positions."""


class States(NamedTuple):
    """What comes out of a prompt's last segment.

    `hidden` are the last layer's hidden states at its positions, float32 of shape (positions, n_embd); `logits` those
    at the last one, float32 of shape (n_vocab,).
    """

    hidden: npt.NDArray[np.float32]
    logits: npt.NDArray[np.float32]


class SegmentDecoder:
    """Feeds segments to one llama.cpp context and reads what comes out.

    Parameters
    ----------
    lib
        The llama_cpp module.
    context
        A `llama_context` pointer with `n_batch` ≥ 512 and room for sequence 0.
    n_vocab, n_embd
        Widths of the model's outputs.

    Attributes
    ----------
    decoded
        Positions computed so far.

    """

    def __init__(self, lib: Any, context: Any, n_vocab: int, n_embd: int) -> None:
        self._lib, self._context = lib, context
        self._n_vocab, self._n_embd = n_vocab, n_embd
        self._memory = lib.llama_get_memory(context)
        self._kept: list[Segment] = []
        self._sums: list[npt.NDArray[np.float64]] = []  # of the kept segments' hidden states; while embedding only
        self._embedding = False
        self.decoded = 0

    def forget(self) -> None:
        """Drop what is kept: it no longer holds (other adapters, say)."""
        self._kept, self._sums = [], []
        self._lib.llama_memory_clear(self._memory, False)

    def logits(self, prompt: Prompt) -> npt.NDArray[np.float32]:
        """Read a prompt; return the logits at its last positions, float32 of shape (outputs, n_vocab)."""
        self._embed(False)
        position = self._read_leading(prompt)
        segment = prompt.segments[-1]
        rows: list[npt.NDArray[np.float32]] = []
        for start in range(0, len(segment), BATCH):
            piece = segment[start : start + BATCH]
            outputs = max(0, min(len(piece), start + len(piece) - (len(segment) - prompt.outputs)))
            self._decode(piece, position + start, outputs)
            rows += [self._row(i) for i in range(len(piece) - outputs, len(piece))]
        self._kept.append(segment.copy())  # the caller may change his
        return np.stack(rows)

    def states(self, prompt: Prompt) -> States:
        """Read a prompt; return the hidden states of its last segment, and the logits at its end.

        llama.cpp gives hidden states of all positions or none, so leading segments are read without.
        """
        self._embed(False)
        position = self._read_leading(prompt)
        segment = prompt.segments[-1]
        hidden: list[npt.NDArray[np.float32]] = []
        self._lib.llama_set_embeddings(self._context, True)
        try:
            for start in range(0, len(segment), BATCH):
                piece = segment[start : start + BATCH]
                self._decode(piece, position + start, len(piece))
                hidden.append(self._hidden(len(piece)).copy())
            logits = self._row(len(piece) - 1)
        finally:
            self._lib.llama_set_embeddings(self._context, False)
        return States(np.concatenate(hidden), logits)

    def hidden_sums(self, prompt: Prompt) -> list[npt.NDArray[np.float64]]:
        """Read a prompt; return each segment's sum of last-layer hidden states, float64 of shape (n_embd,)."""
        self._embed(True)
        position = self._keep_prefix(prompt)
        for segment in prompt.segments[len(self._kept) :]:
            total = np.zeros(self._n_embd)
            for start in range(0, len(segment), BATCH):
                piece = segment[start : start + BATCH]
                self._decode(piece, position + start, len(piece))
                total += self._hidden(len(piece)).sum(axis=0, dtype=np.float64)
            position += len(segment)
            self._kept.append(segment.copy())
            self._sums.append(total)
        return list(self._sums)

    def _embed(self, wanted: bool) -> None:
        """Let the context give hidden states, or logits; nothing is kept from one to the other."""
        if wanted != self._embedding:
            self._lib.llama_set_embeddings(self._context, wanted)
            self._embedding = wanted
            self.forget()

    def _keep_prefix(self, prompt: Prompt) -> int:
        """Keep the leading segments that are in memory already, drop the rest; return their length."""
        same = 0
        # The last segment is always decoded: its logits are wanted.
        for kept, segment in zip(self._kept, prompt.segments[:-1], strict=False):
            if kept.dtype != segment.dtype or not np.array_equal(kept, segment):
                break
            same += 1
        length = sum(len(segment) for segment in self._kept[:same])
        if same == 0 or not self._lib.llama_memory_seq_rm(self._memory, 0, length, -1):
            self.forget()  # also models whose state cannot be cut back (recurrent ones)
            return 0
        del self._kept[same:], self._sums[same:]
        return length

    def _decode(self, piece: Segment, position: int, outputs: int) -> None:
        lib, count = self._lib, len(piece)
        positions = np.arange(position, position + count, dtype=np.int32)
        flags = np.zeros(count, dtype=np.int8)
        flags[count - outputs :] = 1
        data = np.ascontiguousarray(piece)
        batch = lib.llama_batch(n_tokens=count, pos=_pointer(positions, ctypes.c_int32))
        batch.logits = _pointer(flags, ctypes.c_int8)
        if data.dtype == np.int32:
            batch.token = _pointer(data, ctypes.c_int32)
        else:
            batch.embd = _pointer(data, ctypes.c_float)
        recent_errors.clear()
        status = lib.llama_decode(self._context, batch)
        if interrupted():
            self.forget()
            raise_interruption()
        if status != 0:
            self.forget()
            reason = recent_errors[-1] if recent_errors else "no reason given"
            raise EngineError(f"llama_decode failed with status {status} on {count} positions: {reason}")
        self.decoded += count

    def _read_leading(self, prompt: Prompt) -> int:
        """Read all segments but the last, those in memory aside; return where the last one begins."""
        position = self._keep_prefix(prompt)
        for segment in prompt.segments[len(self._kept) : -1]:
            for start in range(0, len(segment), BATCH):
                self._decode(segment[start : start + BATCH], position + start, 0)
            position += len(segment)
            self._kept.append(segment.copy())
        return position

    def _hidden(self, count: int) -> npt.NDArray[np.float32]:
        """Return the hidden states of what was decoded last, float32 of shape (count, n_embd); llama.cpp's memory."""
        pointer = self._lib.llama_get_embeddings(self._context)
        return np.ctypeslib.as_array(pointer, (count, self._n_embd))

    def _row(self, index: int) -> npt.NDArray[np.float32]:
        pointer = self._lib.llama_get_logits_ith(self._context, index)
        if not pointer:
            raise EngineError(f"llama.cpp gave no logits for position {index} of a batch")
        row: npt.NDArray[np.float32] = np.ctypeslib.as_array(pointer, (self._n_vocab,)).copy()
        return row


def _pointer(array: npt.NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))


def check_segments(segments: Sequence[Segment], n_vocab: int, n_embd: int) -> None:
    """Refuse segments that this model cannot read: llama.cpp would stop the process on some of them.

    Raises
    ------
    ValueError
        A token id outside the vocabulary, or embeddings of another type or width.

    """
    for segment in segments:
        if segment.dtype == np.int32 and segment.ndim == 1:
            if segment.min() < 0 or segment.max() >= n_vocab:
                raise ValueError(f"a token id lies outside 0 … {n_vocab - 1}")
        elif segment.dtype != np.float32 or segment.ndim != 2 or segment.shape[1] != n_embd:
            raise ValueError(f"a segment is int32 (n,) or float32 (n, {n_embd}), found {segment.dtype} {segment.shape}")
