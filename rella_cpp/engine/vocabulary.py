"""Text to tokens and back, through the model's own vocabulary."""

import ctypes
from collections.abc import Iterable, Sequence
from typing import Any

from rella_cpp.engine.segments import Encoded, Span


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
        self._lib, self._handle = lib, handle
        self._pieces: dict[int, bytes] = {}
        self._split: dict[str, tuple[str | int, ...]] = {}
        self._reserved: set[str] = set()
        self._sentencepiece = lib.llama_vocab_type(handle) == lib.LLAMA_VOCAB_TYPE_SPM
        self.size = int(lib.llama_vocab_n_tokens(handle))
        self.bos = int(lib.llama_vocab_bos(handle))
        self.eos = int(lib.llama_vocab_eos(handle))
        self.adds_bos = bool(lib.llama_vocab_get_add_bos(handle)) and self.bos >= 0
        # SentencePiece puts a blank before a text; it belongs to no byte of ours.
        self._added = len(self.decode(self.tokenize("a"))) - 1

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

    def tokenize(self, text: str, *, special: bool = False) -> list[int]:
        """Tokenise one stretch of text; control tokens are recognised in it only with `special`. Adds no BOS."""
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
        """Tokenise a whole prompt, BOS once where the model wants it.

        The spans' text falls into control tokens (of trusted spans) and stretches of plain text between them; each
        stretch is tokenised whole, so merges across spans are those of the whole prompt.
        """
        tokens: list[int] = []
        starts: list[int] = []
        stretch: list[str] = []
        marks: list[int] = []  # byte places in the stretch where spans start

        def close_stretch() -> None:
            new = self.tokenize("".join(stretch))
            starts.extend(len(tokens) + place for place in self._places(new, marks))
            tokens.extend(new)
            stretch.clear()
            marks.clear()

        parts = [self._parts(span) if span.trusted else None for span in spans]
        for span, known in zip(spans, parts, strict=True):
            marks.append(self._length("".join(stretch)))
            for part in known or (self._defused(span.text),):
                if isinstance(part, str):
                    stretch.append(part)
                else:
                    close_stretch()
                    tokens.append(part)
        close_stretch()
        if self.adds_bos and tokens[:1] != [self.bos]:
            tokens.insert(0, self.bos)
            starts = [start + 1 if start else 0 for start in starts]
        return Encoded(tuple(tokens), tuple(starts))

    def _places(self, tokens: Sequence[int], marks: Sequence[int]) -> list[int]:
        """For each byte place, the index of the first token that reaches beyond it."""
        if not marks:
            return []
        sizes = [len(self.piece(token)) for token in tokens]
        end = -self._added
        places, index = [], 0
        for mark in marks:
            while index < len(sizes) and end + sizes[index] <= mark:
                end += sizes[index]
                index += 1
            places.append(index)
        return places

    def _length(self, text: str) -> int:
        """Count the bytes of the pieces that a text becomes: SentencePiece takes ▁ for a blank."""
        return len((text.replace("▁", " ") if self._sentencepiece else text).encode("utf-8", "replace"))

    def _parts(self, span: Span) -> tuple[str | int, ...]:
        """Split a trusted span into plain text and control tokens."""
        if span.text not in self._split:
            self._split[span.text] = tuple(self._split_controls(span.text))
        return self._split[span.text]

    def _defused(self, text: str) -> str:
        """Break up what a frame uses as marks though the vocabulary calls it user-defined.

        llama.cpp recognises such tokens in any text, parsing specials or not.
        """
        for name in self._reserved:
            text = text.replace(name, f"{name[0]} {name[1:]}")
        return text

    def _split_controls(self, text: str) -> list[str | int]:
        lib, handle = self._lib, self._handle
        parts: list[str | int] = []
        for token in self.tokenize(text, special=True):
            name, attributes = self.text(token), int(lib.llama_vocab_get_attr(handle, token))
            if attributes & lib.LLAMA_TOKEN_ATTR_USER_DEFINED and name.strip():
                self._reserved.add(name)
            if not lib.llama_vocab_is_control(handle, token):
                continue
            before, found, after = text.partition(name)
            if not found:  # a byte-level vocabulary may hold the very token without its text being there
                continue
            if attributes & lib.LLAMA_TOKEN_ATTR_LSTRIP:
                before = before.rstrip()
            text = after.lstrip() if attributes & lib.LLAMA_TOKEN_ATTR_RSTRIP else after
            parts += [before, token] if before else [token]
        return [*parts, text] if text else parts
