"""The plan and what makes its calls, on a context of thirty lines that remembers what each sequence has read."""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp.engine.decoder import Decoder
from rella_cpp.engine.generation import generate
from rella_cpp.engine.plan import Call, Limits, Piece, Wanted, plan, plan_to_hold
from rella_cpp.engine.segments import Prompt

Key = tuple[float, ...]
EXACT = Limits(cells=64, batch=8, sequences=1, exact=True)


class FakeContext:
    """Gives for each position the number of what its sequence has read up to there; checks what llama.cpp would."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.sequences: dict[int, list[tuple[int, Key]]] = {0: []}  # of each, its cells: a number and what it holds
        self.rows: list[float] = []
        self.shapes: dict[tuple[Key, ...], set[tuple[int, ...]]] = {}
        self.cell = 0
        self.saved: list[list[tuple[int, Key]]] = []

    def clear(self) -> None:
        self.sequences = {0: []}

    def cut(self, length: int) -> None:
        assert length <= len(self.sequences[0])
        self.sequences = {0: self.sequences[0][:length]}

    def save(self) -> npt.NDArray[np.uint8]:
        self.saved.append(list(self.sequences[0]))
        return np.array([len(self.saved) - 1], np.uint8)

    def load(self, data: npt.NDArray[np.uint8]) -> None:
        self.sequences = {0: list(self.saved[int(data[0])])}

    def fork(self, branches: int) -> None:
        assert branches < self.limits.sequences
        self.sequences |= {number: list(self.sequences[0]) for number in range(1, branches + 1)}

    def decode(self, pieces: Sequence[Piece], *, hidden: bool) -> None:
        assert 0 < sum(len(piece.segment) for piece in pieces) <= self.limits.batch
        assert len({piece.segment.dtype for piece in pieces}) == 1
        self.rows = []
        for piece in pieces:
            sequences = [self.sequences[number] for number in piece.sequences]
            # Sequences that read together have read the same, in the very same cells.
            assert all(sequence == sequences[0] for sequence in sequences) and len(sequences[0]) == piece.position
            for row in piece.segment:
                self.cell += 1
                for sequence in sequences:
                    sequence.append((self.cell, tuple(np.atleast_1d(row).tolist())))
                read = tuple(key for _, key in sequences[0])
                self.rows.append(number_of(read))
                self.shapes.setdefault(read, set()).add((len(pieces), piece.position, len(piece.segment)))
        used = {cell for sequence in self.sequences.values() for cell, _ in sequence}
        assert len(used) <= self.limits.cells

    def logits(self, index: int) -> npt.NDArray[np.float32]:
        return np.array([self.rows[index]], np.float32)

    def hidden(self, first: int, count: int) -> npt.NDArray[np.float32]:
        return np.array(self.rows[first : first + count], np.float32)[:, None]


def number_of(read: Sequence[Key]) -> float:
    return float(np.float32(hash(tuple(read)) % 1_000_003))


def keys(prompt: Prompt) -> list[Key]:
    return [tuple(np.atleast_1d(row).tolist()) for segment in prompt.segments for row in segment]


def wanted_rows(prompt: Prompt, count: int) -> list[float]:
    read = keys(prompt)
    return [number_of(read[: len(read) - count + 1 + slot]) for slot in range(count)]


def run(decoder: Decoder, calls: Sequence[Call], counts: Sequence[int]) -> list[list[float]]:
    rows = [[-1.0] * count for count in counts]

    def take(wanted: Wanted, place: int) -> None:
        for row in range(wanted.length):
            rows[wanted.prompt][wanted.slot + row] = float(decoder.context.logits(place + row)[0])

    decoder.run(calls, take)
    return rows


def prompts_of(*parts: str) -> list[Prompt]:
    """`ab|c` is a prompt of two segments and three positions."""
    return [Prompt(tuple(np.array([ord(c) for c in part], np.int32) for part in text.split("|"))) for text in parts]


def lengths(calls: Sequence[Call]) -> list[list[int]]:
    return [[len(piece.segment) for piece in call.pieces] for call in calls]


def tokens(letters: str) -> npt.NDArray[np.int32]:
    return np.array([ord(letter) for letter in letters], np.int32)


def spelt(calls: Iterable[Call]) -> list[tuple[int | None, list[tuple[str, list[int]]]]]:
    """Each call as where the trunk is cut, and its pieces: letters and sequences."""
    return [
        (call.start, [("".join(map(chr, piece.segment)), list(piece.sequences)) for piece in call.pieces])
        for call in calls
    ]


def test_what_prompts_share_is_read_in_one_call_or_on_the_trunk() -> None:
    # The example in the module's docstring.
    batch = prompts_of("abcdX", "abcdY", "abeZ")
    wide, narrow = (Limits(cells=64, batch=8, sequences=count, call=2) for count in (4, 3))
    together = [("ab", [1, 2, 3]), ("cd", [1, 2]), ("X", [1]), ("Y", [2]), ("eZ", [3])]
    assert spelt(plan(batch, wide)) == [(0, together)]
    assert spelt(plan(batch, narrow)) == [
        (0, [("ab", [0])]),
        (2, [("cd", [1, 2]), ("X", [1]), ("Y", [2])]),
        (2, [("eZ", [0])]),
    ]


@pytest.mark.parametrize(("cost", "read"), [(3, [[2, 3, 4], [2, 5, 2]]), (2, [[2], [3, 4], [5, 2]])])
def test_short_subtrees_are_read_together_as_far_as_there_is_room(cost: int, read: list[list[int]]) -> None:
    # The example of `_groups`: the node's 2 positions are read in each call, or once, where a call costs less.
    batch = prompts_of("pqaaa", "pqbbbb", "pqccccc", "pqdd")
    assert lengths(list(plan(batch, Limits(cells=64, batch=10, call=cost)))) == read


segments = st.one_of(
    st.text("ab", min_size=1, max_size=6).map(tokens),
    st.lists(st.sampled_from([0.5, 1.5]), min_size=1, max_size=3).map(lambda row: np.array(row, np.float32)[:, None]),
)
prompts = st.lists(
    st.lists(segments, min_size=1, max_size=4).map(lambda parts: Prompt(tuple(parts))), min_size=1, max_size=9
)
limits = st.builds(
    Limits,
    cells=st.integers(24, 60),
    batch=st.integers(1, 12),
    sequences=st.integers(1, 6),
    pack=st.integers(0, 12),
    call=st.integers(0, 5),
    exact=st.booleans(),
    rewinds=st.booleans(),
)


@given(first=prompts, second=prompts, limits=limits, keep=st.booleans(), data=st.data())
def test_every_row_asked_for_is_what_its_prompt_alone_says(
    first: list[Prompt], second: list[Prompt], limits: Limits, keep: bool, data: st.DataObject
) -> None:
    decoder = Decoder(FakeContext(limits), rewinds=limits.rewinds)
    for batch in (first, second):  # the second finds what the first left on the trunk
        counts = [data.draw(st.integers(1, len(prompt))) for prompt in batch]
        before = decoder.decoded_tokens
        found = run(decoder, list(plan(batch, limits, counts, keep=keep)), counts)
        assert found == [wanted_rows(prompt, count) for prompt, count in zip(batch, counts, strict=True)]
        assert decoder.decoded_tokens - before <= sum(map(len, batch))


@given(batch=prompts, limits=limits)
def test_nothing_shared_is_decoded_twice_where_a_call_costs_nothing(batch: list[Prompt], limits: Limits) -> None:
    limits = Limits(limits.cells, limits.batch, limits.sequences, limits.pack, call=0)
    decoder = Decoder(FakeContext(limits))
    run(decoder, list(plan(batch, limits)), [1] * len(batch))
    assert decoder.decoded_tokens == len({tuple(keys(p)[: n + 1]) for p in batch for n in range(len(p))})


@given(first=prompts, second=prompts)
def test_in_exact_mode_a_position_is_always_decoded_in_the_same_call(first: list[Prompt], second: list[Prompt]) -> None:
    # The shape of the call decides the last bits: how many pieces, where it begins, how long it is.
    alone: dict[Key, set[tuple[int, ...]]] = {}
    for prompt in (*first, *second):
        context = FakeContext(EXACT)
        run(Decoder(context), list(plan([prompt], EXACT)), [1])
        for read, shapes in context.shapes.items():
            alone.setdefault(read, set()).update(shapes)  # type: ignore[arg-type]
    context = FakeContext(EXACT)
    decoder = Decoder(context)
    for batch in (first, second):
        run(decoder, list(plan(batch, EXACT)), [1] * len(batch))
    assert {read: shapes for read, shapes in context.shapes.items()} == alone  # type: ignore[comparison-overlap]


@given(first=prompts, second=prompts, limits=limits, keep=st.booleans())
def test_what_came_before_changes_no_call(
    first: list[Prompt], second: list[Prompt], limits: Limits, keep: bool
) -> None:
    # A call may be left out, since what it would read is there; it is never made in another shape.
    fresh, used = FakeContext(limits), FakeContext(limits)
    run(Decoder(fresh, rewinds=limits.rewinds), list(plan(second, limits, keep=keep)), [1] * len(second))
    decoder = Decoder(used, rewinds=limits.rewinds)
    run(decoder, list(plan(first, limits, keep=keep)), [1] * len(first))
    used.shapes.clear()
    run(decoder, list(plan(second, limits, keep=keep)), [1] * len(second))
    assert all(shapes <= fresh.shapes[read] for read, shapes in used.shapes.items())


def test_short_endings_are_packed_and_long_ones_read_alone() -> None:
    limits = Limits(cells=100, batch=10, sequences=8, pack=4, call=2)
    short = prompts_of("lead|ab", "lead|cd", "lead|ef")
    assert lengths(list(plan(short, limits))) == [[4, 2, 2, 2]]  # all in one call: sharing costs no call
    many = prompts_of(*(f"lead|{a}{b}z" for a in "ab" for b in "cd"))
    assert lengths(list(plan(many, limits))) == [[4], [1, 2, 2], [1, 2, 2]]  # the lead, then what begins with a, with b
    long = prompts_of("lead|abcdefg", "lead|hijklmn")
    assert lengths(list(plan(long, limits))) == [[4], [7], [7]]
    unshared = prompts_of("abcdefg", "hijklmn")
    assert lengths(list(plan(unshared, limits))) == [[7], [7]]
    tiny = prompts_of("l|abcdefg", "l|hijklmn")  # one position is not worth a call
    assert lengths(list(plan(tiny, limits))) == [[8], [8]]


def test_where_full_calls_are_cheapest_long_prompts_fill_them() -> None:
    # As on a GPU: what a call may hold, it holds, whether prompts share anything or not.
    limits = Limits(cells=100, batch=20, sequences=8, pack=20, call=8)
    assert lengths(list(plan(prompts_of("abcdefghi", "jklmnopqr", "stuvwxyz"), limits))) == [[9, 9], [8]]
    few = Limits(cells=100, batch=20, sequences=3, pack=20, call=8)  # two branches beside the trunk
    assert lengths(list(plan(prompts_of("ab", "cd", "ef"), few))) == [[2, 2], [2]]
    small = Limits(cells=12, batch=20, sequences=8, pack=20, call=8)  # memory for one of them
    assert lengths(list(plan(prompts_of("abcdefghi", "jklmnopqr"), small))) == [[9], [9]]


def test_a_kept_lead_is_cut_where_the_next_plan_finds_it() -> None:
    limits = Limits(cells=100, batch=10, sequences=8, pack=9, call=2)
    decoder = Decoder(FakeContext(limits))
    run(decoder, list(plan(prompts_of("sys|hist|one"), limits, keep=True)), [1])
    assert decoder.decoded_tokens == 10
    run(decoder, list(plan(prompts_of("sys|hist|oak", "sys|hist|two"), limits, keep=True)), [1, 1])
    assert decoder.decoded_tokens == 10 + 6
    run(decoder, list(plan(prompts_of("sys|past|two"), limits, keep=True)), [1])
    assert decoder.decoded_tokens == 10 + 6 + 10


def test_two_users_in_turn_are_read_once() -> None:
    limits = Limits(cells=100, batch=10, sequences=8, pack=9, call=2)
    decoder = Decoder(FakeContext(limits))
    decoder.saved, decoder.worth = 100, 1
    for text in ("sys|anna|one", "sys|bertha|two", "sys|anna|six", "sys|bertha|ten", "sys|anna|one"):
        before = decoder.decoded_tokens
        ((row,),) = run(decoder, list(plan(prompts_of(text), limits, keep=True)), [1])
        assert row == wanted_rows(prompts_of(text)[0], 1)[0]
    assert decoder.decoded_tokens - before == 3  # the last had only its ending to read
    decoder.saved = 0
    run(decoder, list(plan(prompts_of("sys|bertha|two"), limits, keep=True)), [1])
    assert decoder.decoded_tokens - before == 3 + 12  # nothing is kept any more


@given(batches=st.lists(prompts, min_size=1, max_size=6), limits=limits, keep=st.booleans(), saved=st.integers(0, 40))
def test_what_is_put_back_changes_no_call(batches: list[list[Prompt]], limits: Limits, keep: bool, saved: int) -> None:
    context = FakeContext(limits)
    decoder = Decoder(context, rewinds=limits.rewinds)
    decoder.saved, decoder.worth = saved, 1
    for batch in batches:
        fresh = FakeContext(limits)
        own = run(Decoder(fresh, rewinds=limits.rewinds), list(plan(batch, limits, keep=keep)), [1] * len(batch))
        context.shapes.clear()
        assert run(decoder, list(plan(batch, limits, keep=keep)), [1] * len(batch)) == own
        assert all(shapes <= fresh.shapes[read] for read, shapes in context.shapes.items())
        assert sum(map(len, decoder._trunks)) <= saved


def test_a_failed_call_leaves_nothing_that_is_taken_for_known() -> None:
    limits = Limits(cells=20, batch=4)
    decoder = Decoder(FakeContext(limits))
    calls = list(plan(prompts_of("abcd|efgh"), limits))
    with pytest.raises(ZeroDivisionError):
        decoder.run(calls, lambda wanted, place: 1 // 0)  # type: ignore[arg-type]
    assert run(decoder, calls, [1]) == [wanted_rows(prompts_of("abcd|efgh")[0], 1)] and decoder.decoded_tokens == 4 + 8


@given(batch=prompts, limits=limits, most=st.integers(0, 5))
def test_generation_reads_back_what_it_wrote(batch: list[Prompt], limits: Limits, most: int) -> None:
    # The fake's likeliest token is always 0: what is checked is that positions, sequences and memory hold together.
    answers = generate(Decoder(FakeContext(limits), rewinds=limits.rewinds), batch, most, limits, lambda token: False)
    room = [limits.cells - len(prompt) + 1 for prompt in batch]
    assert answers == [[0] * min(most, free) for free in room]


def test_held_prompts_are_told_apart_by_their_sequences() -> None:
    limits = Limits(cells=100, batch=10, sequences=8, pack=4, call=2)
    calls, sequences = plan_to_hold(prompts_of("lead|b", "lead|a", "lead|b", "lead"), limits)
    assert sequences == [3, 2, 3, 1] and [call.start for call in calls] == [0, 4]
    assert plan_to_hold(prompts_of("a", "a"), limits)[1] == [0, 0]


def test_limits_are_llama_cpps() -> None:
    with pytest.raises(ValueError, match="256"):
        Limits(cells=10, sequences=257)
