from collections.abc import Iterator

import gguf
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny_model import CONTROLS, TURN, bpe_vocab, spm_vocab, with_tokens, write_model

from rella_cpp import Engine
from rella_cpp.engine.segments import Span
from rella_cpp.prompts.chat import chat_frame
from rella_cpp.prompts.chat_formats import CHAT_FORMATS
from rella_cpp.prompts.rendering import PromptText

shared = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
# Text that likes to look like control tokens, frames and byte fallbacks, besides anything else in Unicode.
texts = st.lists(
    st.sampled_from(["<|im_start|>", "<|im_end|>", "</s>", "<s>", "<unk>", "<0x0A>", " ", "Yes", "movie", "▁"])
    | st.text(),
    max_size=5,
).map("".join)
CONTROL_NAMES = ("<|im_start|>", "<|im_end|>", "</s>", "<s>", "<unk>", "<|endoftext|>")


def control_tokens(engine: Engine, tokens: tuple[int, ...]) -> list[str]:
    names = [engine.vocabulary.text(token) for token in tokens]
    return [name for name in names if name in CONTROL_NAMES]


@shared
@given(text=texts)
def test_untrusted_text_never_becomes_a_control_token(any_engine: Engine, text: str) -> None:
    encoded = any_engine.encode([Span("<|im_start|>", trusted=True), Span(text), Span("<|im_end|>", trusted=True)])
    bos = ["<s>"] if any_engine.vocabulary.adds_bos else []
    assert control_tokens(any_engine, encoded.tokens) == [*bos, "<|im_start|>", "<|im_end|>"]


@shared
@given(parts=st.lists(texts, min_size=1, max_size=5))
def test_spans_merge_as_one_text_and_starts_cut_it_in_order(any_engine: Engine, parts: list[str]) -> None:
    encoded = any_engine.encode([Span(part) for part in parts])
    assert encoded.tokens == any_engine.encode([Span("".join(parts))]).tokens
    assert len(encoded.starts) == len(parts)
    assert list(encoded.starts) == sorted(encoded.starts)
    assert all(0 <= start <= len(encoded.tokens) for start in encoded.starts)


@shared
@given(before=texts, one=texts, other=texts)
def test_what_stands_before_a_border_does_not_depend_on_what_follows(
    any_engine: Engine, before: str, one: str, other: str
) -> None:
    # Holds where no merge reaches back across the border; a line break, which no piece crosses, makes sure of it.
    first, second = (any_engine.encode([Span(before + "\n"), Span("\n" + text)]) for text in (one, other))
    assert first.tokens[: first.starts[1]] == second.tokens[: second.starts[1]]


@shared
@given(text=texts.map(lambda text: text.replace("movie", TURN)))
def test_a_frames_mark_stays_the_frames_even_where_the_vocabulary_calls_it_user_defined(
    any_engine: Engine, text: str
) -> None:
    encoded = any_engine.encode([Span(f"{TURN}user\n", trusted=True), Span(text), Span(f"\n{TURN}", trusted=True)])
    assert [any_engine.vocabulary.text(token) for token in encoded.tokens].count(TURN) == 2


def test_a_users_mark_in_the_frame_does_not_shift_the_borders(any_engine: Engine) -> None:
    spans = [Span(f"{TURN}user\n", trusted=True), Span("movie"), Span(f"\n{TURN}", trusted=True), Span("Yes")]
    encoded = any_engine.encode(spans)
    assert any_engine.vocabulary.decode(encoded.tokens[encoded.starts[3] :]).strip() == "Yes"
    assert any_engine.vocabulary.decode(encoded.tokens[encoded.starts[1] : encoded.starts[2]]).strip() == "movie"


def test_what_text_becomes_does_not_depend_on_what_was_encoded_before(any_engine: Engine) -> None:
    text = [Span(f"A {TURN} B")]
    before = any_engine.encode(text)
    any_engine.encode([Span(f"{TURN}user\n", trusted=True), Span("x")])
    assert any_engine.encode(text) == before


@pytest.mark.parametrize("content", ["movie", " the movie \n", "", "Yes\n\nNo", "ünï ▁ çødé 🎬"])
def test_a_frame_is_tokenised_as_llama_cpp_does_it(any_engine: Engine, content: str) -> None:
    spans = [Span("<|im_start|>user\n", trusted=True), Span(content), Span("<|im_end|>\n<|im_start|>", trusted=True)]
    tokens = any_engine.encode(spans).tokens
    whole = any_engine.vocabulary.tokenize("".join(span.text for span in spans), special=True)
    bos = [any_engine.vocabulary.bos] if any_engine.vocabulary.adds_bos else []
    assert list(tokens) == bos + whole


def test_bos_comes_once_even_if_the_frame_writes_it(engine: Engine) -> None:
    for spans in ([Span("<s>", trusted=True), Span("movie")], [Span("movie")], [Span("")]):
        assert engine.encode(spans).tokens.count(engine.vocabulary.bos) == 1


@shared
@given(text=texts)
def test_bytes_come_back(any_engine: Engine, text: str) -> None:
    # The blank that SentencePiece puts before a text is the only thing added; ▁ is its way to write a blank.
    back = any_engine.vocabulary.decode(any_engine.vocabulary.tokenize(text))
    expected = text.encode("utf-8", "replace").decode()
    sentencepiece = any_engine.vocabulary.adds_bos
    assert back == (" " + expected.replace("▁", " ") if sentencepiece and text else expected)


MARKS = ["<img>", "<|tool|>", "<<b>>", "[/INST]", "Rambo", "    "]


@pytest.fixture(scope="module", params=["spm", "bpe"])
def marked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    path = tmp_path_factory.mktemp("marks") / "marks.gguf"
    vocab = with_tokens(spm_vocab() if request.param == "spm" else bpe_vocab(), MARKS, gguf.TokenType.USER_DEFINED)
    with Engine.from_gguf(write_model(path, tokenizer=request.param, vocab=vocab)) as engine:
        yield engine


titles = st.lists(
    st.sampled_from([*MARKS, *CONTROLS, TURN, "<", ">", "|", "<im", "g>", "[", "INST]", " ", "the "])
).map("".join)


@shared
@given(title=titles, name=st.sampled_from([*CHAT_FORMATS, None]))
def test_no_title_forms_a_mark_in_any_frame(marked: Engine, title: str, name: str | None) -> None:
    words = marked.vocabulary
    frame = chat_frame(marked.header, name, system=True, text_of=words.text)

    def reserved(title: str) -> list[str]:
        text = PromptText("Be fair.", "P\n", f"1. {title} - 5 stars\n", f"\n{title}\nGood?")
        found = [words.text(token) for token in marked.encode(frame.spans(text)).tokens]
        return [text for text in found if text in {*MARKS[:4], *CONTROLS, TURN, "<s>", "</s>"}]

    assert reserved(title) == reserved("a")


def test_words_and_blanks_that_a_vocabulary_defines_stay_whole(marked: Engine) -> None:
    found = [marked.vocabulary.text(token) for token in marked.encode([Span("<img> Rambo    x")]).tokens]
    assert "Rambo" in found and "    " in found and "<img>" not in found
