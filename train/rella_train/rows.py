"""Rows that `rella export` wrote, as sequences of tokens with the places of their answers, and as batches."""

import itertools
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch

from rella_train.files import Layout, Row, read_rows

TOGETHER = 256  # rows that are tokenised at once
POOL = 8  # batches whose sequences are put in order of length


class Answers(NamedTuple):
    """The answers between which a model chooses: their tokens, and which of them mean that the item is liked."""

    tokens: list[int]
    liked: list[bool]


class Sequence(NamedTuple):
    """A row: its tokens (an array), where its answers stand among them, and which of the `Answers` each is."""

    tokens: Any
    places: list[int]
    answers: list[int]


class Batch(NamedTuple):
    """Sequences side by side: `before` are the places, counted through all rows, whose logits foretell an answer."""

    rows: list[Sequence]
    ids: Any
    before: Any
    answers: Any
    tokens: int


class RowReader:
    """Reads rows as sequences, no sooner than they are asked for: a short training waits for no long file.

    That every row is whole, which takes little time, is seen before: nobody is told so after hours of training.
    """

    def __init__(self, path: Path, manifest: dict[str, Any], tokenizer: Any) -> None:
        self.path, self.tokenizer, self.layout = path, tokenizer, Layout.of(manifest)
        answered: Row | None = None
        for row in read_rows(path, self.layout):
            if answered is None and row.spans:
                answered = row
        if answered is None:
            raise SystemExit(f"{path}: no row has an answer; export other rows")
        self.shared = 0  # tokens with which all answers begin
        self.answers = Answers(self._answer_tokens(answered), self.layout.liked)

    def __iter__(self) -> Iterator[Sequence]:
        """Yield the sequences in the order of the file."""
        rows = read_rows(self.path, self.layout)
        while some := list(itertools.islice(rows, TOGETHER)):
            encoded = self.tokenizer([row.text for row in some], return_offsets_mapping=True)
            for row, tokens, offsets in zip(some, encoded["input_ids"], encoded["offset_mapping"], strict=True):
                yield self._sequence(row, tokens, offsets)

    def _answer_tokens(self, row: Row) -> list[int]:
        """Return each answer's first token of its own after what stands before a row's first answer."""
        start, labels = row.spans[0][0], self.layout.labels
        texts = [row.text[:start] + label for label in labels]
        encoded = self.tokenizer(texts, return_offsets_mapping=True)
        columns = enumerate(zip(*encoded["input_ids"], strict=False))
        first = next((place for place, column in columns if len(set(column)) > 1), None)
        tokens = [] if first is None else [tokens[first] for tokens in encoded["input_ids"]]
        if first is not None:
            self.shared = first - next(at for at, (_, end) in enumerate(encoded["offset_mapping"][0]) if end > start)
        if len(set(tokens)) < len(labels):
            said = ", ".join(map(repr, labels))
            raise SystemExit(f"{self.path}: the answers {said} begin with no tokens of their own in this base's words")
        return tokens

    def _sequence(self, row: Row, tokens: list[int], offsets: list[tuple[int, int]]) -> Sequence:
        places, at = [], 0
        for start, answer in row.spans:
            while at < len(offsets) and offsets[at][1] <= start:
                at += 1
            place = at + self.shared
            if not 0 < place < len(tokens) or tokens[place] != self.answers.tokens[answer]:
                raise SystemExit(
                    f"{self.path}, row {row.number}: at character {start} stands no {self.layout.labels[answer]!r} "
                    "that is one token; export the rows again, with this base's tokenizer"
                )
            places.append(place)
        end = places[-1] if places else 0  # nothing is foretold from the last answer on
        return Sequence(array("i", tokens[:end]), places, [answer for _, answer in row.spans])


class Order:
    """The order of the training rows, a function of the seed alone.

    The first pass over a stream's rows takes them as the file has them (the export has drawn their order, and fewer
    tokens are the beginning of more); later passes, and all passes over other rows, whose neighbors are of one sample,
    are shuffled. Sequences of like length go together, which spares padding: `POOL` batches at a time are sorted.
    """

    def __init__(self, reader: RowReader, size: int, seed: int) -> None:
        self.reader, self.size, self.seed = reader, size, seed
        self.known: list[Sequence] = []

    def total(self) -> int:
        """Count the tokens of all rows."""
        self.known = [row for row in self.reader if row.places]
        return sum(len(row.tokens) for row in self.known)

    def batches(self) -> Iterator[Batch]:
        """Yield batches without end."""
        for number in itertools.count():
            random = torch.Generator().manual_seed(self.seed + number)
            rows = self._shuffled(random) if number or not self.reader.layout.stream else self._first_pass()
            while pool := list(itertools.islice(rows, POOL * self.size)):
                pool.sort(key=lambda row: len(row.tokens))
                starts = range(0, len(pool), self.size)
                for place in torch.randperm(len(starts), generator=random).tolist():
                    yield self.batch(pool[starts[place] : starts[place] + self.size])

    def batch(self, rows: list[Sequence]) -> Batch:
        """Put sequences side by side."""
        return side_by_side(rows, self.reader.answers)

    def _first_pass(self) -> Iterator[Sequence]:
        if self.known:
            yield from self.known
            return
        read: list[Sequence] = []
        for row in self.reader:
            if row.places:
                read.append(row)
                yield row
        self.known = read

    def _shuffled(self, random: Any) -> Iterator[Sequence]:
        if not self.known:
            self.known = [row for row in self.reader if row.places]
        order = torch.randperm(len(self.known), generator=random).tolist()
        return (self.known[place] for place in order)


def side_by_side(rows: list[Sequence], answers: Answers) -> Batch:
    """Pad sequences on their right: what stands there is seen by none of their own tokens.

    Few lengths, multiples of 64: a CPU's bfloat16 kernels are built anew for every shape, which takes ten times as
    long as a step.
    """
    longest = -(-max(len(row.tokens) for row in rows) // 64) * 64
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    before: list[int] = []
    for number, row in enumerate(rows):
        ids[number, : len(row.tokens)] = torch.tensor(row.tokens)
        before += [number * longest + place - 1 for place in row.places]
    chosen = torch.tensor([answer for row in rows for answer in row.answers])
    return Batch(rows, ids, torch.tensor(before), chosen, sum(len(row.tokens) for row in rows))


def sorted_batches(rows: list[Sequence], size: int, answers: Answers) -> Iterator[Batch]:
    """Yield all rows once, in order of length."""
    ordered = sorted(rows, key=lambda row: len(row.tokens))
    for start in range(0, len(ordered), size):
        yield side_by_side(ordered[start : start + size], answers)
