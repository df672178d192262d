"""Timing peers in turns, so that whatever else the machine does falls on all."""

import statistics
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from compared.task import Peer

Prompt = TypeVar("Prompt")
Answer = TypeVar("Answer")


@dataclass(slots=True)
class Timed(Generic[Answer]):
    """What one peer did.

    Attributes
    ----------
    name, how
        The peer.
    given, of
        How many prompts it read, of how many.
    seconds
        Of each round, for all `of` of them; see `scaled`.
    answers
        Of the last round.

    """

    name: str
    how: str
    given: int
    of: int
    seconds: list[float] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)

    @property
    def median(self) -> float:
        """Median seconds for all prompts."""
        return statistics.median(self.seconds)


def time_peers(
    openers: Sequence[Callable[[], Peer[Prompt, Answer]]],
    prompts: Sequence[Prompt],
    repeats: int,
    say: Callable[[str], None],
    *,
    apart: bool = False,
) -> list[Timed[Answer]]:
    """Let every peer read the prompts `repeats` times, after one prompt to warm up.

    Parameters
    ----------
    openers
        What opens each.
    say
        Told what is being done.
    apart
        Open one at a time and close it after all its rounds, where memory does not hold all of them at once.

    """
    groups = [[opener] for opener in openers] if apart else [openers]
    return [timed for group in groups for timed in _rounds(group, prompts, repeats, say)]


def scaled(marks: Sequence[float], of: int, *, reuses: bool) -> float:
    """Return the seconds that `of` prompts take, from the times at which the first ones began and were done.

    With `reuses`, the first one is counted in full and the mean of the others stands for those that were not read.
    """
    done, whole = len(marks) - 1, marks[-1] - marks[0]
    if done == of or not reuses or done == 1:
        return whole * of / done
    first = marks[1] - marks[0]
    return first + (whole - first) / (done - 1) * (of - 1)


def _rounds(
    openers: Sequence[Callable[[], Peer[Prompt, Answer]]],
    prompts: Sequence[Prompt],
    repeats: int,
    say: Callable[[str], None],
) -> list[Timed[Answer]]:
    with ExitStack() as stack:
        peers: list[Peer[Prompt, Answer]] = []
        for opener in openers:
            peers.append(stack.enter_context(closing(opener())))
            say(f"{peers[-1].name} is loaded")
        results = [_warm(peer, prompts) for peer in peers]
        for number in range(1, repeats + 1):
            for peer, result in zip(peers, results, strict=True):
                say(f"round {number} of {repeats}: {peer.name}")
                _time(peer, prompts[: result.given], result)
        return results


def _warm(peer: Peer[Prompt, Answer], prompts: Sequence[Prompt]) -> Timed[Answer]:
    list(peer.read(prompts[:1]))
    return Timed(peer.name, peer.how, min(peer.prompts or len(prompts), len(prompts)), len(prompts))


def _time(peer: Peer[Prompt, Answer], prompts: Sequence[Prompt], result: Timed[Answer]) -> None:
    peer.fresh()
    marks, answers = [time.perf_counter()], []
    for answer in peer.read(prompts):
        marks.append(time.perf_counter())
        answers.append(answer)
    result.seconds.append(scaled(marks, result.of, reuses=peer.reuses))
    result.answers = answers
