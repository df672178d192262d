"""Text to tokens and back, through the model's own vocabulary."""

import ctypes
import re
from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

from rella_cpp.engine.segments import Encoded, Span
from rella_cpp.errors import EngineError

_BRACKETS = re.compile(r"[<>\[\]{}|｜◁▷]")
_ROUNDS = 8


class Vocabulary:
    """The vocabulary of a loaded model.

    Parameters
    ----------
    lib
        The llama_cpp module.
    handle
        Its `llama_vocab` pointer; valid for as long as the model is loaded.

    """

    def __init__(self, lib: Any, handle: Any) -> None:
        self._lib, self._open = lib, handle
        self._pieces: dict[int, bytes] = {}
        self._split: dict[str, tuple[tuple[str | int, ...], tuple[str, ...]]] = {}
        self._user_defined: dict[int, bool] = {}
        self._sentencepiece = lib.llama_vocab_type(handle) == lib.LLAMA_VOCAB_TYPE_SPM
        self.size = int(lib.llama_vocab_n_tokens(handle))
        self.bos = int(lib.llama_vocab_bos(handle))
        self.eos = int(lib.llama_vocab_eos(handle))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(handle)) and self.bos >= 0
        # SentencePiece puts a blank before a text; it belongs to no byte of ours.
        self._added = len(self.decode(self.tokenize("a"))) - 1

    @property
    def _handle(self) -> Any:
        if self._open is None:
            raise EngineError("the model is closed")
        return self._open

    def close(self) -> None:
        """Refuse every further call: the model is about to be freed."""
        self._open = None

    def text(self, token: int) -> str:
        """Return a token as it stands in the vocabulary (`<s>`, `▁Yes`); empty for a token that is none."""
        if not 0 <= token < self.size:
            return ""
        return str(self._lib.llama_vocab_get_text(self._handle, token).decode("utf-8", errors="replace"))

    def piece(self, token: int) -> bytes:
        """Return the bytes that a token stands for; a control token's are its name."""
        if token not in self._pieces:
            size = 64
            while True:
                buffer = ctypes.create_string_buffer(size)
                count = self._lib.llama_token_to_piece(self._handle, token, buffer, size, 0, True)
                if count >= 0:
                    break
                size = -count
            self._pieces[token] = buffer.raw[:count]
        return self._pieces[token]

    def decode(self, tokens: Iterable[int]) -> str:
        """Return the text that tokens stand for."""
        return b"".join(map(self.piece, tokens)).decode("utf-8", errors="replace")

    def ends_generation(self, token: int) -> bool:
        """Tell whether a model says with this token that its answer is complete."""
        return bool(self._lib.llama_vocab_is_eog(self._handle, token))

    def control(self, text: str) -> int | None:
        """Return the control token that a text begins with, if it is one."""
        first = self._parts(text)[0][:1] if text else ()
        return first[0] if first and isinstance(first[0], int) else None

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokenize one stretch of text; control tokens are recognized in it only with `special`. Adds no BOS."""
        data = text.encode("utf-8", errors="replace")
        if not data:
            return []
        size = len(data) + 16
        while True:
            tokens = (ctypes.c_int32 * size)()
            count = self._lib.llama_tokenize(self._handle, data, len(data), tokens, size, False, special)
            if count >= 0:
                return tokens[:count]
            size = -count

    def encode(self, spans: Sequence[Span]) -> Encoded:
        """Tokenize a whole prompt, BOS once where the model wants it.

        The spans' text falls into control tokens (of trusted spans) and stretches of plain text between them; each
        stretch is tokenized whole, so merges across spans are those of the whole prompt. A soft prompt ends one, too.
        """
        tokens: list[int] = []
        soft: int | None = None
        starts: list[int] = []
        stretch: list[str] = []
        marks: list[int] = []  # byte places in the stretch where spans start

        def close_stretch() -> None:
            new = self.tokenize("".join(stretch))
            starts.extend(len(tokens) + place for place in self._places(new, marks))
            tokens.extend(new)
            stretch.clear()
            marks.clear()

        reserved = {name for span in spans if span.trusted for name in self._parts(span.text)[1]}
        if any(_BRACKETS.search(span.text) for span in spans if not span.trusted):
            reserved |= self._bracketed
        for span in spans:
            marks.append(self._length("".join(stretch)))
            if span.soft is not None:
                stretch.append(_defused(span.text[: span.soft], reserved))
                close_stretch()
                soft = len(tokens)
                stretch.append(_defused(span.text[span.soft :], reserved))
                continue
            for part in self._parts(span.text)[0] if span.trusted else (_defused(span.text, reserved),):
                if isinstance(part, str):
                    stretch.append(part)
                else:
                    close_stretch()
                    tokens.append(part)
        close_stretch()
        if self.adds_bos and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos)
            starts = [start + 1 if start else 0 for start in starts]
            soft = None if soft is None else soft + 1
        return Encoded(tuple(tokens), tuple(starts), soft)

    def _places(self, tokens: Sequence[int], marks: Sequence[int]) -> list[int]:
        """For each byte place, the index of the first token that reaches beyond it."""
        if not marks:
            return []
        sizes = [len(self.piece(token)) for token in tokens]
        # SentencePiece's blank comes again after a user-defined token within the text.
        blanks = [self._added if i and self._is_user_defined(tokens[i - 1]) else 0 for i in range(len(tokens))]
        end = -self._added
        places, index = [], 0
        for mark in marks:
            while index < len(sizes) and end + sizes[index] - blanks[index] <= mark:
                end += sizes[index] - blanks[index]
                index += 1
            places.append(index)
        return places

    def _length(self, text: str) -> int:
        """Count the bytes of the pieces that a text becomes: SentencePiece takes ▁ for a blank."""
        return len((text.replace("▁", " ") if self._sentencepiece else text).encode("utf-8", "replace"))

    def _is_user_defined(self, token: int) -> bool:
        if token not in self._user_defined:
            attributes = int(self._lib.llama_vocab_get_attr(self._handle, token))
            self._user_defined[token] = bool(attributes & self._lib.LLAMA_TOKEN_ATTR_USER_DEFINED)
        return self._user_defined[token]

    @cached_property
    def _bracketed(self) -> set[str]:
        """The user-defined tokens that look like marks: other than words and blanks, they have a bracket or a bar."""
        texts = (self.text(token) for token in range(self.size) if self._is_user_defined(token))
        return {text for text in texts if len(text) > 1 and _BRACKETS.search(text)}

    def _parts(self, text: str) -> tuple[tuple[str | int, ...], tuple[str, ...]]:
        """Split trusted text into plain text and control tokens; name its marks that are user-defined tokens."""
        if text not in self._split:
            tokens = self.tokenize(text, special=True)
            marks = tuple(self.text(token) for token in tokens if self._is_user_defined(token))
            self._split[text] = (tuple(self._split_controls(text, tokens)), tuple(m for m in marks if m.strip()))
        return self._split[text]

    def _split_controls(self, text: str, tokens: Sequence[int]) -> list[str | int]:
        lib, handle = self._lib, self._handle
        parts: list[str | int] = []
        for token in tokens:
            if not lib.llama_vocab_is_control(handle, token):
                continue
            before, found, after = text.partition(self.text(token))
            if not found:  # a byte-level vocabulary may hold the very token without its text being there
                continue
            attributes = int(lib.llama_vocab_get_attr(handle, token))
            if attributes & lib.LLAMA_TOKEN_ATTR_LSTRIP:
                before = before.rstrip()
            text = after.lstrip() if attributes & lib.LLAMA_TOKEN_ATTR_RSTRIP else after
            parts += [before, token] if before else [token]
        return [*parts, text] if text else parts


def _defused(text: str, marks: Collection[str]) -> str:
    """Break up what looks like a mark, though the vocabulary calls it user-defined, by a blank behind its first letter.

    llama.cpp recognizes such tokens in any text, parsing specials or not.
    """
    if not any(mark in text for mark in marks):
        return text
    found = re.compile("|".join(re.escape(mark) for mark in sorted(marks, key=len, reverse=True)))
    for _ in range(_ROUNDS):  # what is broken up may leave another
        text, count = found.subn(lambda match: f"{match[0][0]} {match[0][1:]}", text)
        if not count:
            break
    return text
