"""Greedy generation, many prompts at a time: each step reads one token of every prompt in one call."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from rella_cpp.engine.decoder import Decoder
from rella_cpp.engine.plan import Call, Limits, Piece, Wanted, plan, plan_to_hold
from rella_cpp.engine.segments import Prompt


def generate(
    decoder: Decoder, prompts: Sequence[Prompt], max_tokens: int, limits: Limits, ends: Callable[[int], bool]
) -> list[list[int]]:
    """Continue prompts greedily, each until its end token, `max_tokens` or the memory's end.

    Parameters
    ----------
    decoder
        Reads.
    prompts
        What to continue; each fits the memory.
    limits
        In exact mode, or where only one sequence is allowed, prompts are continued one after another.
    ends
        Tells the tokens that end an answer.

    Returns
    -------
    The new tokens of each prompt, end tokens left out.

    """
    results: list[list[int]] = []
    for group in _groups(prompts, max_tokens, limits):
        results += _Batch(decoder, group, limits).run(max_tokens, ends)
    return results


def _groups(prompts: Sequence[Prompt], max_tokens: int, limits: Limits) -> Iterator[list[Prompt]]:
    """Cut prompts into groups that can be in memory at once, answers included."""
    group: list[Prompt] = []
    size, most = 0, min(limits.sequences - 1, limits.batch)
    for prompt in prompts:
        size += len(prompt) + max_tokens
        if group and (size > limits.cells or len(group) >= most):
            yield group
            group, size = [], len(prompt) + max_tokens
        group.append(prompt)
    if group:
        yield group


class _Batch:
    """Prompts that are continued together."""

    def __init__(self, decoder: Decoder, prompts: Sequence[Prompt], limits: Limits) -> None:
        self._decoder, self._limits = decoder, limits
        self._prompts = [Prompt(prompt.segments) for prompt in prompts]  # the last position's logits alone
        self._next = [0] * len(prompts)

    def run(self, max_tokens: int, ends: Callable[[int], bool]) -> list[list[int]]:
        """Return each prompt's new tokens."""
        answers: list[list[int]] = [[] for _ in self._prompts]
        if max_tokens < 1:
            return answers
        if len(self._prompts) == 1:
            calls, sequences = list(plan(self._prompts, self._limits)), [0]
        else:
            calls, sequences = plan_to_hold(self._prompts, self._limits)
        self._decoder.run(calls, self._take)
        active = list(range(len(answers)))
        while True:
            active = [number for number in active if not ends(self._next[number])]
            for number in active:
                answers[number].append(self._next[number])
            active = [
                n for n in active if len(answers[n]) < max_tokens and self._length(n, answers) <= self._limits.cells
            ]
            if not active:
                return answers
            self._decoder.run([self._step(active, answers, sequences)], self._take)

    def _length(self, number: int, answers: Sequence[Sequence[int]]) -> int:
        return len(self._prompts[number]) + len(answers[number])

    def _step(self, active: Sequence[int], answers: Sequence[Sequence[int]], sequences: Sequence[int]) -> Call:
        """Read the last token of each active prompt."""
        pieces: dict[int, Piece] = {}
        for number in active:
            sequence, place = sequences[number], self._length(number, answers) - 1
            wanted = (*(pieces[sequence].wanted if sequence in pieces else ()), Wanted(number, 0, 0, 1))
            token = np.asarray(answers[number][-1:], dtype=np.int32)
            pieces[sequence] = Piece(token, place, range(sequence, sequence + 1), wanted)
        return Call(None, 0, tuple(pieces.values()))

    def _take(self, wanted: Wanted, place: int) -> None:
        self._next[wanted.prompt] = int(self._decoder.context.logits(place).argmax())
