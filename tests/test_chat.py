from pathlib import Path

import pytest
from tiny_model import CHATML, write_model

from rella_cpp import InputError
from rella_cpp.chat import CHAT_FORMATS, ChatFrame, chat_frame
from rella_cpp.prompts import PromptText
from rella_gguf import Header, MetadataValue, read_header

TEXT = PromptText("Be fair.", "P\n", "H\n", "T?")
SYSTEM = "Be fair."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. USER: "
)


def header(template: str | None = None, *, name: str = "Tiny", arch: str = "llama", file: str = "m.gguf") -> Header:
    metadata: dict[str, MetadataValue] = {"general.architecture": arch, "general.name": name}
    if template is not None:
        metadata["tokenizer.chat_template"] = template
    return Header(Path(file), 3, metadata, (), 0, 0)


def whole(frame: ChatFrame, text: PromptText = TEXT) -> str:
    return "".join(span.text for span in frame.spans(text))


def frame_of(template: str | None = None, name: str | None = None, *, system: bool = True) -> ChatFrame:
    return chat_frame(header(template), name, system=system, bos="<s>", eos="</s>")


@pytest.mark.parametrize(
    ("name", "expected", "lead"),
    [
        ("vicuna", VICUNA + "Be fair.\n\nP\nH\nT? ASSISTANT:", " "),
        (
            "chatml",
            "<|im_start|>system\nBe fair.<|im_end|>\n<|im_start|>user\nP\nH\nT?<|im_end|>\n<|im_start|>assistant\n",
            "",
        ),
        ("llama-2", "[INST] <<SYS>>\nBe fair.\n<</SYS>>\n\nP\nH\nT? [/INST]", " "),
        ("zephyr", "<|system|>\nBe fair.</s>\n<|user|>\nP\nH\nT?</s>\n<|assistant|>\n", ""),
        ("none", "Be fair.\n\nP\nH\nT?", " "),
    ],
)
def test_the_named_formats(name: str, expected: str, lead: str) -> None:
    frame = frame_of(name=name)
    assert whole(frame) == expected
    assert frame.lead == lead


def test_without_a_system_line_no_system_message_is_written() -> None:
    text = PromptText("", "P\n", "H\n", "T?")
    assert whole(frame_of(name="chatml", system=False), text).startswith("<|im_start|>user\nP\n")
    assert whole(frame_of(name="vicuna", system=False), text) == VICUNA + "P\nH\nT? ASSISTANT:"
    assert whole(frame_of(name="none", system=False), text) == "P\nH\nT?"


def test_the_models_own_template_is_taken_and_only_the_frame_is_trusted() -> None:
    frame = frame_of(CHATML)
    assert whole(frame) == whole(frame_of(name="chatml"))
    assert [span.trusted for span in frame.spans(TEXT)] == [True, False, True, False, False, False, True]


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('none') }}{% endif %}"
        "[{{ m.content }}]{% endfor %}",
        "{% for m in messages %}{% if m.role == 'user' %}[{{ m.content }}]{% endif %}{% endfor %}",
        "{% for m in messages | reverse %}[{{ m.content }}]{% endfor %}",
    ],
)
def test_without_a_system_role_the_line_is_folded_into_the_users_turn(template: str) -> None:
    frame = frame_of(template)
    assert frame.middle is None
    assert "[Be fair.\n\nP\nH\nT?]" in whole(frame)


def test_thinking_is_switched_off_and_the_clock_stands_still() -> None:
    template = (
        "{{ strftime_now('%d %b %Y') }}{% generation %}{% for m in messages %}{{ m.content }}|{% endfor %}"
        "{% endgeneration %}{% if add_generation_prompt %}<a>"
        "{% if not enable_thinking %}<think></think>{% endif %}{% endif %}"
    )
    assert whole(frame_of(template)) == "01 Jan 2025Be fair.|P\nH\nT?|<a><think></think>"


def test_bos_and_eos_are_given_and_the_lead_is_read_off_an_answered_turn() -> None:
    template = (
        "{{ bos_token }}{% for m in messages %}{% if m.role == 'assistant' %}: {{ m.content }}{{ eos_token }}"
        "{% else %}{{ m.content }}{% endif %}{% endfor %}"
    )
    frame = frame_of(template)
    assert whole(frame) == "<s>Be fair.P\nH\nT?" and frame.lead == ": "


@pytest.mark.parametrize(
    ("name", "arch", "file", "format_"),
    [
        ("Vicuna 7B v1.5", "llama", "m.gguf", "vicuna"),
        ("x", "llama", "vicuna-7b-v1.5.Q4_K_M.gguf", "vicuna"),
        ("vicuna", "mistral", "m.gguf", "none"),
        ("Llama base", "llama", "m.gguf", "none"),
    ],
)
def test_a_model_without_a_template_is_taken_for_what_its_name_says(
    name: str, arch: str, file: str, format_: str
) -> None:
    assert chat_frame(header(name=name, arch=arch, file=file), None, system=True).name == format_


@pytest.mark.parametrize(
    "template",
    [
        "{% for m in messages %}",
        "{{ raise_exception('never') }}",
        "{{ messages[7].content.x.y }}",
        "no turn at all",
        "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}",
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ messages.append(1) }}",
        "{{ 1 + 'a' }}",
        "{% for i in range(999999999) %}x{% endfor %}",
    ],
)
def test_a_template_that_fails_to_render_is_refused_in_one_line(template: str) -> None:
    with pytest.raises(InputError, match=r"m\.gguf: the chat template fails to render.*--chat-format") as caught:
        frame_of(template)
    assert len(str(caught.value).splitlines()) == 1


def test_an_unknown_format_is_refused_with_the_nearest() -> None:
    with pytest.raises(InputError, match="unknown chat format 'vicunna'; did you mean vicuna"):
        frame_of(name="vicunna")
    with pytest.raises(InputError, match=", ".join(CHAT_FORMATS)):
        frame_of(name="qqqq")


def test_the_template_of_a_real_file_is_read(tmp_path: Path) -> None:
    found = read_header(write_model(tmp_path / "m.gguf"))
    assert whole(chat_frame(found, None, system=True)) == whole(frame_of(CHATML))
