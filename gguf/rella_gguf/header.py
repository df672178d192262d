"""Read the header of a GGUF file: metadata and tensor table, no tensor data.

`gguf.GGUFReader` maps the whole file and makes an array of every vocabulary entry; to check a file at each start we
need neither, only to walk over them.
"""

import mmap
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from rella_gguf.errors import GGUFError
from rella_gguf.regular import refuse_special
from rella_gguf.tensor_types import tensor_type

MAGIC = b"GGUF"
ALIGNMENT_KEY = "general.alignment"
_VERSIONS = (2, 3)
_SCALARS = "BbHhIif?sAQqd"  # struct codes by GGUF value type; `s` string and `A` array are read apart
_STRING, _ARRAY = 8, 9
_MAX_DIMENSIONS = 4  # GGML_MAX_DIMS


@dataclass(frozen=True, slots=True)
class ArrayInfo:
    """Metadata array that was stepped over: only its element type (GGUF value type) and length are kept."""

    type: int
    length: int


MetadataValue = int | float | bool | str | ArrayInfo


@dataclass(frozen=True, slots=True)
class TensorInfo:
    """One row of the tensor table.

    `shape` is in GGML order (fastest dimension first); `type` a ggml type number; `offset` counts bytes from the
    start of the data section.
    """

    name: str
    shape: tuple[int, ...]
    type: int
    offset: int

    @property
    def elements(self) -> int:
        """Number of weights."""
        product = 1
        for size in self.shape:
            product *= size
        return product

    @property
    def nbytes(self) -> int:
        """Size of the data in bytes.

        Raises
        ------
        GGUFError
            The type is not known to the installed `gguf` package.

        """
        found = tensor_type(self.type)
        if found is None:
            raise GGUFError(
                f"tensor {self.name} has the unknown type {self.type}",
                remedy="the file is damaged, or newer than we read",
            )
        return self.elements // found.block * found.size

    @property
    def type_name(self) -> str:
        """The ggml type's name, such as `Q4_K`."""
        found = tensor_type(self.type)
        return f"type {self.type}" if found is None else found.name


@dataclass(frozen=True, slots=True)
class Header:
    """Everything before the tensor data of one GGUF file.

    `data_start` is the byte where tensor data begins, `size` the file's size in bytes; `ranges` has the first byte of
    each metadata entry, key and type included, and the byte after it.
    """

    path: Path
    version: int
    metadata: dict[str, MetadataValue]
    tensors: tuple[TensorInfo, ...]
    data_start: int
    size: int
    ranges: dict[str, tuple[int, int]] = field(default_factory=dict)

    def text(self, key: str) -> str:
        """Metadata string `key`, or `""` where it is absent or no string."""
        value = self.metadata.get(key)
        return value if isinstance(value, str) else ""

    def integer(self, key: str) -> int | None:
        """Metadata integer `key`, or None where it is absent or no integer."""
        value = self.metadata.get(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def alignment(self) -> int:
        """What each tensor's offset is a multiple of, in bytes."""
        return self.integer(ALIGNMENT_KEY) or 32

    @property
    def architecture(self) -> str:
        """`general.architecture`."""
        return self.text("general.architecture")

    @property
    def kind(self) -> str:
        """`model`, `adapter`, `vocabulary` (no tensors) or what `general.type` says."""
        kind = self.text("general.type") or "model"
        return "vocabulary" if kind == "model" and not self.tensors else kind


class _Cursor:
    """Walks over a mapped file, refusing to step past its end."""

    def __init__(self, data: mmap.mmap, path: Path) -> None:
        self.data, self.path, self.at = data, path, 0

    def take(self, count: int) -> int:
        start = self.at
        if count > len(self.data) - start:
            raise GGUFError(
                f"the header ends at byte {len(self.data)}, in the middle of an entry",
                source=self.path,
                remedy="the file is truncated: download it again",
            )
        self.at = start + count
        return start

    def number(self, code: str) -> int:
        value: int = struct.unpack_from("<" + code, self.data, self.take(struct.calcsize("<" + code)))[0]
        return value

    def string(self) -> str:
        length = self.number("Q")
        start = self.take(length)
        return self.data[start : start + length].decode("utf-8", errors="replace")

    def skip_strings(self, count: int) -> None:
        unpack, data, at = struct.Struct("<Q").unpack_from, self.data, self.at
        try:
            for _ in repeat(None, count):  # a vocabulary has 100,000 and more
                (length,) = unpack(data, at)
                at += 8 + length
        except (struct.error, OverflowError):  # beyond the end
            at = len(data) + 1
        self.take(at - self.at)

    def value(self, kind: int) -> MetadataValue:
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY:
            element, length = self.number("I"), self.number("Q")
            if element == _STRING:
                self.skip_strings(length)
            else:
                self.take(struct.calcsize("<" + self.code(element)) * length)
            return ArrayInfo(element, length)
        return self.number(self.code(kind))

    def code(self, kind: int) -> str:
        if kind >= len(_SCALARS) or kind in (_STRING, _ARRAY):
            raise GGUFError(
                f"metadata value of the unknown type {kind} before byte {self.at}",
                source=self.path,
                remedy="the file is damaged, or of a newer format than this version reads",
            )
        return _SCALARS[kind]


def read_header(path: str | Path) -> Header:
    """Read the metadata and the tensor table of one GGUF file.

    Raises
    ------
    GGUFError
        The file is missing, no regular one, empty, no GGUF, of an unknown version, or its header is truncated or
        damaged.

    """
    path = Path(path)
    refuse_special(path, "give a llama.cpp model, usually named *.gguf", GGUFError)
    try:
        with path.open("rb") as file:
            if file.read(4) != MAGIC:
                raise GGUFError(
                    "is no GGUF file (it does not begin with the bytes GGUF)",
                    source=path,
                    remedy="give a llama.cpp model, usually named *.gguf",
                )
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return _parse(_Cursor(data, path))
    except FileNotFoundError:
        raise GGUFError("no such file", source=path, remedy="check the path") from None
    except OSError as error:
        raise GGUFError(error.strerror or str(error), source=path, remedy="give a readable GGUF file") from None
    except ValueError as error:  # a path with a NUL byte
        raise GGUFError(str(error), source=path, remedy="check the path") from None


def _parse(cursor: _Cursor) -> Header:
    cursor.at = len(MAGIC)
    version = cursor.number("I")
    if version not in _VERSIONS:
        raise GGUFError(
            f"has the GGUF version {version}",
            source=cursor.path,
            remedy="versions 2 and 3, little-endian, are read",
        )
    tensor_count, metadata_count = cursor.number("Q"), cursor.number("Q")
    metadata: dict[str, MetadataValue] = {}
    ranges: dict[str, tuple[int, int]] = {}
    for _ in range(metadata_count):
        start = cursor.at
        key = cursor.string()
        metadata[key] = cursor.value(cursor.number("I"))
        ranges[key] = start, cursor.at
    tensors = tuple(_tensors(cursor, tensor_count))
    alignment = metadata.get(ALIGNMENT_KEY, 32)
    if not isinstance(alignment, int) or alignment < 8 or alignment & (alignment - 1):
        raise GGUFError(f"{ALIGNMENT_KEY} is {alignment}", source=cursor.path, remedy="the file is damaged")
    data_start = -(-cursor.at // alignment) * alignment
    return Header(cursor.path, version, metadata, tensors, data_start, len(cursor.data), ranges)


def _tensors(cursor: _Cursor, count: int) -> Iterator[TensorInfo]:
    for _ in range(count):
        name = cursor.string()
        dimensions = cursor.number("I")
        if dimensions > _MAX_DIMENSIONS:
            raise GGUFError(
                f"tensor {name} has {dimensions} dimensions", source=cursor.path, remedy="the file is damaged"
            )
        shape = tuple(cursor.number("Q") for _ in range(dimensions))
        yield TensorInfo(name, shape, cursor.number("I"), cursor.number("Q"))
