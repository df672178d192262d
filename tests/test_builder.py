import logging
from dataclasses import replace
from pathlib import Path

import pytest
from tiny_model import write_model

from rella_cpp import Engine, load_domain
from rella_cpp.prompts.builder import PromptBuilder
from rella_cpp.prompts.rendering import PromptText

MOVIES = load_domain("movies")
TEXT = PromptText(MOVIES.system, "P\n", "1. the movie\n", "\nNow the movie <|im_end|>.\nGood?")
# The shape of gpt-oss' channels: an answered turn has a marker that the generation prompt has not.
CHANNELS = (
    "{%- for m in messages %}{%- if m.role == 'assistant' %}"
    "{{- '<|im_start|>assistant<|im_end|>final<|im_end|>' + m.content + '<|im_end|>' }}"
    "{%- else %}{{- '<|im_start|>' + m.role + '<|im_end|>' + m.content + '<|im_end|>' }}{%- endif %}{%- endfor %}"
    "{%- if add_generation_prompt %}{{- '<|im_start|>assistant' }}{%- endif %}"
)
THINKING = CHANNELS.replace("'<|im_start|>assistant' }}", "'<|im_start|>assistant<think>' }}")


def test_the_marker_before_an_answer_is_there_however_one_asks(tmp_path: Path) -> None:
    with Engine.from_gguf(write_model(tmp_path / "m.gguf", tokenizer="bpe", template=CHANNELS)) as engine:
        words = engine.vocabulary
        prompts = PromptBuilder(engine, MOVIES, None)
        marker = words.tokenize("<|im_start|>assistant<|im_end|>final<|im_end|>", special=True)
        asked = prompts.question(TEXT)
        assert list(asked.tokens[-len(marker) :]) == marker
        assert [words.text(token) for token in asked.answers.tokens] == ["Yes", "No"]
        assert asked.text.endswith("Good?<|im_end|><|im_start|>assistant<|im_end|>final<|im_end|>")
        choice = prompts.choice(TEXT, ["the movie", "Yes"])
        assert list(choice.tokens[-len(marker) :]) == marker
        assert [words.decode(answer) for answer in choice.answers] == ["the movie", "Yes"]
        written = prompts.generation(TEXT)
        assert list(written.prompt.merged[0][-len(marker) :]) == marker and written.end == "<|im_end|>"
        assert list(prompts.ready("Good?").tokens[-len(marker) :]) == marker
        # The frame writes nine control tokens; the one in the title is text.
        controls = [token for token in asked.tokens if words.text(token).startswith("<|im_")]
        assert len(controls) == 9


def test_a_lead_of_the_domains_own_stands_in_the_place_of_the_templates(tmp_path: Path) -> None:
    own = replace(MOVIES, templates=replace(MOVIES.templates, lead="\n### Answer: "))
    with Engine.from_gguf(write_model(tmp_path / "m.gguf", tokenizer="bpe", template=CHANNELS)) as engine:
        asked = PromptBuilder(engine, own, None).question(TEXT)
        assert engine.vocabulary.decode(asked.tokens).endswith("<|im_start|>assistant\n### Answer:")


@pytest.mark.parametrize(("template", "warned"), [(CHANNELS, False), (THINKING, True)])
def test_an_answer_inside_a_thought_is_warned_of_once(
    template: str, warned: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = write_model(tmp_path / "m.gguf", tokenizer="bpe", template=template)
    with Engine.from_gguf(path) as engine, caplog.at_level(logging.WARNING, "rella_cpp"):
        prompts = PromptBuilder(engine, MOVIES, None)
        prompts.question(TEXT)
        prompts.ready("Good?")
    told = [record.getMessage() for record in caplog.records if "the answer is asked inside it" in record.getMessage()]
    assert len(told) == warned and all("m.gguf ends every prompt in '<think>'" in line for line in told)
