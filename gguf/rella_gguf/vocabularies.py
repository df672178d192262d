"""Refuse vocabularies that llama.cpp dies of, or tokenizes wrongly with, before it sees them."""

from collections.abc import Callable, Sequence

from rella_gguf.arrays import STRINGS, texts
from rella_gguf.errors import GGUFError
from rella_gguf.header import ArrayInfo, Header

_TOKENS = "tokenizer.ggml.tokens"
_INT32, _FLOAT32 = 5, 6  # GGUF value types
_BESIDE_TOKENS = {"tokenizer.ggml.token_type": (_INT32,), "tokenizer.ggml.scores": (_INT32, _FLOAT32)}
"""Arrays that have a value for each token, and the types that llama.cpp reads them in."""
_NEEDS = {
    "llama": "tokenizer.ggml.scores",
    "gpt2": "tokenizer.ggml.merges",
    "gemma4": "tokenizer.ggml.merges",
}
"""The array that says what a tokenizer joins first."""
_WITHOUT_MERGES = "kimi-k2"
_BYTES: dict[str, Callable[[int], bytes]] = {
    "llama": lambda byte: b"<0x%02X>" % byte,
    "plamo2": lambda byte: b"<0x%02X>" % byte,
    "rwkv": lambda byte: repr(bytes([byte]))[2:-1].encode(),
}
"""How tokenizers write a token that stands for one byte, of those that llama.cpp dies with where one is missing."""
_IN_TEXTS = tuple(byte for byte in range(1, 0xF5) if byte not in (0xC0, 0xC1))
"""The bytes that occur in texts without NUL, as UTF-8 has them."""
_REMEDY = "convert the model again, or download it again"


def check_vocabulary(header: Header) -> None:
    """Check that a model brings a vocabulary, and one that fits the tokenizer that it names.

    Raises
    ------
    GGUFError
        There is none, it lacks an array or has one of another length, or a token comes twice.

    """
    kind = header.text("tokenizer.ggml.model")
    tokens = header.metadata.get(_TOKENS)
    if kind in ("none", "no_vocab") or not isinstance(tokens, ArrayInfo) or not tokens.length:
        raise GGUFError("has no vocabulary", source=header.path, remedy="give a model with its tokenizer")
    if not kind:
        raise _wrong(header, "does not name its tokenizer (tokenizer.ggml.model)")
    if tokens.type != STRINGS:
        raise _wrong(header, f"the array {_TOKENS} holds no texts")
    for key, types in _BESIDE_TOKENS.items():
        beside = header.metadata.get(key)
        if beside is None:
            continue
        if not isinstance(beside, ArrayInfo) or beside.type not in types:
            raise _wrong(header, f"{key} is no array of numbers")
        if beside.length < tokens.length:
            raise _wrong(header, f"{key} has {beside.length:,} values for {tokens.length:,} tokens")
    needed = _NEEDS.get(kind)
    if needed and needed not in header.metadata and header.text("tokenizer.ggml.pre") != _WITHOUT_MERGES:
        raise _wrong(header, f"names the tokenizer {kind}, which needs {needed}")
    words = _as_llama_cpp_reads(texts(header, _TOKENS))
    known = set(words)
    if len(known) != len(words):
        raise _twice(header, words)
    for byte in _IN_TEXTS if kind in _BYTES else ():
        name = _BYTES[kind](byte)
        if name not in known and bytes([byte]) not in known:
            raise _wrong(header, f"names the tokenizer {kind}, and has no token {name.decode()} for that byte")


def _as_llama_cpp_reads(words: list[bytes]) -> list[bytes]:
    """Cut tokens at a NUL, and name the empty ones: what llama.cpp makes of them before it compares."""
    if b"\0" in b"".join(words):
        words = [word.partition(b"\0")[0] for word in words]
    if b"" in words:
        words = [word or b"[EMPTY_%d]" % number for number, word in enumerate(words)]
    return words


def _twice(header: Header, words: Sequence[bytes]) -> GGUFError:
    """Name the first token that comes twice, and where."""
    places: dict[bytes, int] = {}
    for number, word in enumerate(words):
        if word in places:
            shown = word.decode("utf-8", errors="replace")
            return _wrong(header, f"the token {shown!r} comes twice, as {places[word]} and {number}")
        places[word] = number
    raise ValueError("no token comes twice")


def _wrong(header: Header, finding: str) -> GGUFError:
    return GGUFError(finding, source=header.path, remedy=_REMEDY)
