import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from rella_cpp import Engine, EngineError, InputError, Item, ModelIdentity, Score, ranks
from rella_cpp.prompts.chat import chat_frame
from rella_cpp.prompts.question import AnswerTokens, Question, yes_no_question
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.scoring.answers import read_answer

TEXT = PromptText("Be fair.", "P\n", "The movie\n", "Good?")


def question(engine: Engine, answers: tuple[str, str], name: str, lead: str | None = None) -> Question:
    frame = chat_frame(engine.header, name, system=True)
    return yes_no_question(engine.encode, frame.spans(TEXT), answers, frame.lead if lead is None else lead)


def yes_no(yes: int, no: int) -> AnswerTokens:
    return AnswerTokens((yes, no), (True, False))


def test_the_blank_before_an_answer_belongs_to_its_token(any_engine: Engine) -> None:
    # Vicuna's frame ends in a colon, ChatML's in a line break; both vocabularies have " Yes" and "Yes" as one token.
    vocabulary = any_engine.vocabulary
    vicuna, chatml = question(any_engine, ("Yes", "No"), "vicuna"), question(any_engine, ("Yes", "No"), "chatml")
    assert list(map(vocabulary.piece, vicuna.answers.tokens)) == [b" Yes", b" No"]
    assert vocabulary.decode(vicuna.tokens).endswith(" ASSISTANT:")
    assert vocabulary.decode(chatml.tokens).endswith("assistant\n")
    assert list(map(vocabulary.piece, chatml.answers.tokens)) == [b"Yes", b"No"]


def test_a_prompt_is_cut_before_the_history_and_before_the_target(any_engine: Engine) -> None:
    asked = question(any_engine, ("Yes", "No"), "chatml")
    decode = any_engine.vocabulary.decode
    first, second, third = (decode(segment) for segment in asked.prompt.segments)
    assert first.endswith("P\n") and second == "The movie\n" and third.startswith("Good?")
    assert tuple(np.concatenate(asked.prompt.segments)) == asked.tokens


@pytest.mark.parametrize("answers", [("Yes", "Yes"), ("Not at all", "Not so much"), ("No", "No!"), ("Qa", "Qb")])
def test_answers_that_begin_with_the_same_token_are_refused(any_engine: Engine, answers: tuple[str, str]) -> None:
    with pytest.raises(InputError, match="begin with the same token"):
        question(any_engine, answers, "chatml")


def test_a_template_can_say_what_stands_before_the_answer(any_engine: Engine) -> None:
    asked = question(any_engine, ("Yes", "No"), "none", lead="\n### Response:\n")
    assert any_engine.vocabulary.decode(asked.tokens).endswith("\n### Response:\n")


@given(logits=hnp.arrays(np.float32, 20, elements=st.floats(-50, 50, width=32)))
def test_the_answer_is_the_softmax_over_two_and_its_share_of_all(logits: np.ndarray) -> None:
    answer = read_answer(logits, yes_no(3, 7))
    full = np.exp(logits.astype(np.float64) - logits.max())
    full /= full.sum()
    assert answer.probability == pytest.approx(full[3] / (full[3] + full[7]), rel=1e-9)
    assert answer.answer_mass == pytest.approx(full[3] + full[7], rel=1e-9)
    assert (answer.yes_logit, answer.no_logit) == (float(logits[3]), float(logits[7]))


def test_far_apart_logits_give_0_and_1_without_a_warning() -> None:
    logits = np.array([1e4, -1e4, 0], dtype=np.float32)
    assert read_answer(logits, yes_no(0, 1)).probability == 1
    assert read_answer(logits, yes_no(1, 0)).probability == pytest.approx(0)


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_logits_that_are_no_numbers_are_refused(wrong: float) -> None:
    with pytest.raises(EngineError, match="no finite numbers"):
        read_answer(np.array([wrong, 0, 1], dtype=np.float32), yes_no(1, 2))


def test_ranks_begin_with_1_and_keep_the_input_order_of_equals() -> None:
    scores = [Score(Item({}), p, 0, 0, 1, 1, (), 0, ModelIdentity("m", "f")) for p in (0.2, 0.9, 0.5, 0.9)]
    assert ranks(scores) == [4, 1, 3, 2]
