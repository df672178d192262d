"""Write a GGUF anew: another's metadata byte for byte, with texts added and keys left out, and its tensors laid out."""

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Self

from rella_gguf.errors import GGUFError
from rella_gguf.header import MAGIC, Header, TensorInfo

_STRING = 8


@dataclass(frozen=True, slots=True)
class Rewrite:
    """What a file on its way is made of: whose metadata, and its tensors, with their offsets in the new file.

    Metadata entries are copied as they stand, tokenizers of any size included; `without` names those left out.
    """

    base: Header
    tensors: tuple[TensorInfo, ...]
    without: frozenset[str]

    @classmethod
    def of(cls, base: Header, tensors: Iterable[TensorInfo], without: Iterable[str] = ()) -> Self:
        """Lay out tensors one after the other, aligned as the base's are."""
        laid, at = [], 0
        for tensor in tensors:
            laid.append(replace(tensor, offset=at))
            at += padded(tensor.nbytes, base.alignment)
        return cls(base, tuple(laid), frozenset(without))

    @property
    def data_bytes(self) -> int:
        """Size of the data section, padding included."""
        return sum(padded(tensor.nbytes, self.base.alignment) for tensor in self.tensors)

    def padding(self, tensor: TensorInfo) -> bytes:
        """Return the zeros that follow a tensor's data."""
        return bytes(padded(tensor.nbytes, self.base.alignment) - tensor.nbytes)

    def header(self, texts: Mapping[str, str], entries: Mapping[str, bytes] | None = None) -> bytes:
        """Return all that stands before the data: the base's metadata, with `entries` and `texts` in place of its own.

        New ones stand behind those of the base. `entries` are whole metadata entries by their key, that and the type
        included (see `entry_start`).

        Raises
        ------
        GGUFError
            The base can no longer be read.

        """
        more = dict(entries or {}) | {key: entry_start(key, _STRING) + _string(text) for key, text in texts.items()}
        kept = {key: range_ for key, range_ in self.base.ranges.items() if key not in self.without | more.keys()}
        copied = dict(zip(kept, _copied(self.base, kept.values()), strict=True))
        # What takes an entry's place stands where that stood.
        written = {key: b"" for key in self.base.ranges if key not in self.without} | copied | more
        counts = struct.pack("<IQQ", self.base.version, len(self.tensors), len(written))
        data = b"".join([MAGIC, counts, *written.values(), *map(_row, self.tensors)])
        return data + bytes(padded(len(data), self.base.alignment) - len(data))


SPLIT_KEYS = ("split.no", "split.count", "split.tensors.count")
"""Metadata of a split model's parts, which one file does not have."""


def entry_start(key: str, kind: int) -> bytes:
    """Return what stands before the value of a metadata entry; `kind` is a GGUF value type."""
    return _string(key) + struct.pack("<I", kind)


def padded(size: int, alignment: int) -> int:
    """Round a size up to a multiple of the alignment."""
    return -(-size // alignment) * alignment


def _copied(base: Header, ranges: Iterable[tuple[int, int]]) -> list[bytes]:
    entries = []
    try:
        with base.path.open("rb") as file:
            for start, end in ranges:
                file.seek(start)
                entries.append(file.read(end - start))
    except OSError as error:
        raise GGUFError(error.strerror or str(error), source=base.path, remedy="give a readable GGUF file") from None
    return entries


def _row(tensor: TensorInfo) -> bytes:
    sizes = struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
    return _string(tensor.name) + sizes + struct.pack("<IQ", tensor.type, tensor.offset)


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<Q", len(data)) + data
