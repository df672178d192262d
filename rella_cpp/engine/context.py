"""One llama.cpp context: what the decoder asks of it, in numpy arrays."""

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from rella_cpp.engine.native import interrupted, raise_interruption, recent_errors
from rella_cpp.engine.plan import TRUNK, Piece
from rella_cpp.errors import EngineError


class LlamaContext:
    """Decodes pieces with a loaded model.

    Parameters
    ----------
    lib
        The llama_cpp module.
    pointer
        A `llama_context`.
    n_vocab, n_embd
        Widths of the model's outputs.

    """

    def __init__(self, lib: Any, pointer: Any, n_vocab: int, n_embd: int) -> None:
        self._lib, self._pointer = lib, pointer
        self._n_vocab, self._n_embd = n_vocab, n_embd
        self._memory = lib.llama_get_memory(pointer)
        self._embedding = False

    def clear(self) -> None:
        """Forget all sequences."""
        self._lib.llama_memory_clear(self._memory, False)

    def cut(self, length: int) -> None:
        """Keep so many positions of the trunk, drop the rest and all branches.

        Raises
        ------
        EngineError
            The model's memory cannot be cut back.

        """
        lib, memory = self._lib, self._memory
        lib.llama_memory_seq_keep(memory, 0)
        if not lib.llama_memory_seq_rm(memory, 0, length, -1):
            raise EngineError("llama.cpp cannot cut this model's memory back")

    def fork(self, branches: int) -> None:
        """Let sequences 1 … branches begin with the trunk; it is not copied but shared."""
        for sequence in range(1, branches + 1):
            self._lib.llama_memory_seq_cp(self._memory, 0, sequence, -1, -1)

    def save(self) -> npt.NDArray[np.uint8]:
        """Copy the trunk out of memory: uint8 of shape (n,), for `load`.

        Raises
        ------
        EngineError
            llama.cpp failed.

        """
        size = self._lib.llama_state_seq_get_size(self._pointer, 0)
        data = np.empty(size, np.uint8)
        if self._lib.llama_state_seq_get_data(self._pointer, _pointer(data, ctypes.c_uint8), size, 0) != size:
            raise EngineError("llama.cpp could not copy its memory")
        return data

    def load(self, data: npt.NDArray[np.uint8]) -> None:
        """Forget all sequences, and put a trunk into memory that was saved: where it would be decoded anew.

        Raises
        ------
        EngineError
            llama.cpp failed.

        """
        self.clear()
        if not self._lib.llama_state_seq_set_data(self._pointer, _pointer(data, ctypes.c_uint8), len(data), 0):
            raise EngineError("llama.cpp could not restore its memory")

    def decode(self, pieces: Sequence[Piece], *, hidden: bool) -> None:
        """Decode pieces in one call; with `hidden`, hidden states come out at all positions, logits too.

        Raises
        ------
        EngineError
            llama.cpp failed.
        KeyboardInterrupt
            It came meanwhile.

        """
        lib = self._lib
        if hidden != self._embedding:
            lib.llama_set_embeddings(self._pointer, hidden)
            self._embedding = hidden
        batch, held = self._batch(pieces)
        recent_errors.clear()
        status = lib.llama_decode(self._pointer, batch)
        del held
        if interrupted():
            raise_interruption()
        if status != 0:
            reason = recent_errors[-1] if recent_errors else "no reason given"
            raise EngineError(f"llama_decode failed with status {status} on {batch.n_tokens} positions: {reason}")

    def logits(self, index: int) -> npt.NDArray[np.float32]:
        """Copy the logits at a position of the last call, by its place in the call; float32 of shape (n_vocab,)."""
        pointer = self._lib.llama_get_logits_ith(self._pointer, index)
        if not pointer:
            raise EngineError(f"llama.cpp gave no logits for position {index} of a batch")
        row: npt.NDArray[np.float32] = np.ctypeslib.as_array(pointer, (self._n_vocab,)).copy()
        return row

    def hidden(self, first: int, count: int) -> npt.NDArray[np.float32]:
        """Copy the hidden states at positions of the last call, float32 of shape (count, n_embd)."""
        pointer = self._lib.llama_get_embeddings(self._pointer)
        rows: npt.NDArray[np.float32] = np.ctypeslib.as_array(pointer, (first + count, self._n_embd))[first:].copy()
        return rows

    def _batch(self, pieces: Sequence[Piece]) -> tuple[Any, object]:
        """Make a llama_batch of pieces; the arrays it points to are returned beside it, to be kept alive."""
        lengths = [len(piece.segment) for piece in pieces]
        data = np.ascontiguousarray(np.concatenate([piece.segment for piece in pieces]))
        positions = np.concatenate(
            [
                np.arange(piece.position, piece.position + n, dtype=np.int32)
                for piece, n in zip(pieces, lengths, strict=True)
            ]
        )
        flags = np.zeros(len(data), dtype=np.int8)
        offset = 0
        for piece, length in zip(pieces, lengths, strict=True):
            for wanted in piece.wanted:
                flags[offset + wanted.row : offset + wanted.row + wanted.length] = 1
            offset += length
        batch = self._lib.llama_batch(n_tokens=len(data), pos=_pointer(positions, ctypes.c_int32))
        batch.logits = _pointer(flags, ctypes.c_int8)
        if data.dtype == np.int32:
            batch.token = _pointer(data, ctypes.c_int32)
        else:
            batch.embd = _pointer(data, ctypes.c_float)
        if all(piece.sequences == TRUNK for piece in pieces):  # llama.cpp's own default
            return batch, (data, positions, flags)
        names = [np.asarray(piece.sequences, dtype=np.int32) for piece in pieces]
        counts = np.repeat(np.array([len(name) for name in names], dtype=np.int32), lengths)
        pointers = np.repeat(np.array([name.ctypes.data for name in names], dtype=np.uintp), lengths)
        batch.n_seq_id = _pointer(counts, ctypes.c_int32)
        batch.seq_id = ctypes.cast(pointers.ctypes.data, ctypes.POINTER(ctypes.POINTER(ctypes.c_int32)))
        return batch, (data, positions, flags, names, counts, pointers)


def _pointer(array: npt.NDArray[Any], kind: Any) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(kind))
