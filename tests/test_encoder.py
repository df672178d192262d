from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt
import pytest

from rella_cpp import Cache, InputError, Item, load_domain
from rella_cpp.engine.segments import Encoded, Prompt, Span
from rella_cpp.retrieval.encoder import ItemEncoder


class Lengths:
    """Embeds a text as the lengths of its parts; remembers what it was asked, and can be interrupted."""

    def __init__(self, stop_after: int = 10**6) -> None:
        self.asked: list[tuple[int, ...]] = []
        self.calls: list[tuple[int, ...]] = []
        self.stop_after = stop_after

    def encode(self, spans: Sequence[Span]) -> Encoded:
        tokens = [ord(letter) for span in spans for letter in span.text]
        return Encoded(tuple(tokens), (0, len(spans[0].text)))

    def hidden_means(self, prompts: Iterable[Prompt], *, last: bool = False) -> Iterator[npt.NDArray[np.float32]]:
        listed = list(prompts)
        self.calls.append(tuple(hash(segment.tobytes()) for prompt in listed for segment in prompt.segments))
        for prompt in listed:
            if len(self.asked) == self.stop_after:
                raise KeyboardInterrupt
            self.asked.append(tuple(len(segment) for segment in prompt.segments))
            yield np.array([len(prompt.segments[-1] if last else prompt), 1], dtype=np.float32)


def items(*titles: str) -> list[Item]:
    return [Item({"title": title}) for title in titles]


def encoder(model: Lengths, cache: Cache, key: str = "m") -> ItemEncoder:
    return ItemEncoder(model, load_domain("movies"), cache, key, width=2)


def together(model: Lengths, cache: Cache) -> ItemEncoder:
    return ItemEncoder(model, load_domain("movies"), cache, "m", width=2, together=True)


def test_each_distinct_text_is_embedded_once_and_then_never_again() -> None:
    model, cache = Lengths(), Cache(None)
    first = encoder(model, cache).encode(items("Heat", "Alien", "Heat"))
    assert len(model.asked) == 2
    np.testing.assert_array_equal(first[0], first[2])
    assert first.dtype == np.float32 and first.shape == (3, 2)
    again = encoder(model, cache).encode(items("Alien", "Heat", "Ronin"))
    assert len(model.asked) == 3
    np.testing.assert_array_equal(again[:2], first[[1, 0]])
    encoder(model, cache, key="another model").encode(items("Heat"))
    assert len(model.asked) == 4


def test_what_was_embedded_before_an_interruption_is_kept() -> None:
    cache, names = Cache(None), [f"Movie {i}" for i in range(150)]
    with pytest.raises(KeyboardInterrupt):
        encoder(Lengths(stop_after=140), cache).encode(items(*names))
    rest = Lengths()
    encoder(rest, cache).encode(items(*names))
    assert len(rest.asked) == 150 - 128  # written in groups of 64


@pytest.mark.parametrize("stop_after", [10, 64, 100])
def test_after_an_interruption_each_text_is_embedded_in_the_same_company(stop_after: int) -> None:
    # What is embedded together decides last bits, so it must not depend on where a build was killed.
    names, known = [f"Movie {i}" for i in range(150)], [f"Movie {i}" for i in (3, 70, 71)]

    def calls(*models: Lengths) -> list[tuple[int, ...]]:
        cache = Cache(None)
        together(Lengths(), cache).encode(items(*known))
        for model in models:
            with suppress(KeyboardInterrupt):
                together(model, cache).encode(items(*names))
        return [call for model in models for call in model.calls]

    whole, cut = calls(Lengths()), calls(Lengths(stop_after), Lengths())
    assert len(whole) == 3 and set(cut) == set(whole)
    alone = Lengths()
    encoder(alone, Cache(None)).encode(items("a", "b"))
    assert len(alone.calls) == 2


def test_progress_counts_what_is_computed() -> None:
    seen: list[tuple[int, int]] = []
    encoder(Lengths(), Cache(None)).encode(items("a", "b", "a"), lambda _task, done, total: seen.append((done, total)))
    assert seen == [(2, 2)]


def test_the_words_all_items_begin_with_are_a_segment_of_their_own_and_can_be_left_out() -> None:
    model, cache, movies = Lengths(), Cache(None), load_domain("movies")
    whole = ItemEncoder(model, movies, cache, "m", 2).encode(items("Heat"))
    own = ItemEncoder(model, movies, cache, "m", 2, "item").encode(items("Heat"))
    assert model.asked == [(len("Movie. Title: "), len("Heat."))] * 2  # cached apart: their vectors differ
    assert (whole[0, 0], own[0, 0]) == (len("Movie. Title: Heat."), len("Heat."))
    with pytest.raises(InputError, match="pool is 'all'"):
        ItemEncoder(model, movies, cache, "m", 2, "all")  # type: ignore[arg-type]
