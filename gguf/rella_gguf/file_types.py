"""The quantizations that llama.cpp can write, by the names that its users know."""

from dataclasses import dataclass

from rella_gguf.errors import InputError
from rella_gguf.near_names import did_you_mean


@dataclass(frozen=True, slots=True)
class FileType:
    """One mix of tensor types: `number` is its llama_ftype.

    `matrix` says that llama.cpp refuses it without an importance matrix; `aliases` are other names of it.
    """

    name: str
    number: int
    matrix: bool = False
    aliases: tuple[str, ...] = ()


FILE_TYPES = (
    FileType("F32", 0),
    FileType("F16", 1),
    FileType("BF16", 32),
    FileType("Q8_0", 7),
    FileType("Q6_K", 18),
    FileType("Q5_K_M", 17, aliases=("Q5_K",)),
    FileType("Q5_K_S", 16),
    FileType("Q5_1", 9),
    FileType("Q5_0", 8),
    FileType("Q4_K_M", 15, aliases=("Q4_K",)),
    FileType("Q4_K_S", 14),
    FileType("Q4_1", 3),
    FileType("Q4_0", 2),
    FileType("IQ4_NL", 25),
    FileType("IQ4_XS", 30),
    FileType("Q3_K_L", 13),
    FileType("Q3_K_M", 12, aliases=("Q3_K",)),
    FileType("Q3_K_S", 11),
    FileType("IQ3_M", 27),
    FileType("IQ3_S", 26),
    FileType("IQ3_XS", 22, matrix=True),
    FileType("IQ3_XXS", 23, matrix=True),
    FileType("Q2_K", 10),
    FileType("Q2_K_S", 21, matrix=True),
    FileType("IQ2_M", 29, matrix=True),
    FileType("IQ2_S", 28, matrix=True),
    FileType("IQ2_XS", 20, matrix=True),
    FileType("IQ2_XXS", 19, matrix=True),
    FileType("IQ1_M", 31, matrix=True),
    FileType("IQ1_S", 24, matrix=True),
)
"""From the most bits to the fewest, more or less."""


def file_type(name: str) -> FileType:
    """Find a quantization by its name, in any case.

    Raises
    ------
    InputError
        There is none of that name, or it needs an importance matrix.

    """
    known = {alias: found for found in FILE_TYPES for alias in (found.name, *found.aliases)}
    found = known.get(name.upper())
    if found is None:
        usable = ", ".join(found.name for found in FILE_TYPES if not found.matrix)
        raise InputError(f"unknown quantisation {name!r}", remedy=did_you_mean(name, known) or f"there are {usable}")
    if found.matrix:
        raise InputError(
            f"{found.name} needs an importance matrix, which rella does not make",
            remedy="take one with more bits, such as Q2_K, Q3_K_M or IQ4_XS",
        )
    return found
