from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny_model import CHATML, write_model

from rella_cpp import InputError
from rella_cpp.prompts.chat import chat_frame
from rella_cpp.prompts.chat_formats import CHAT_FORMATS
from rella_cpp.prompts.chat_template import ChatFrame
from rella_cpp.prompts.rendering import PromptText
from rella_gguf import Header, MetadataValue, read_header

TEXT = PromptText("Be fair.", "P\n", "H\n", "T?")
SYSTEM = "Be fair."
VICUNA = (
    "A chat between a curious user and an artificial intelligence assistant. "
    "The assistant gives helpful, detailed, and polite answers to the user's questions. USER: "
)


def header(template: str | None = None, *, name: str = "Tiny", arch: str = "llama", file: str = "m.gguf") -> Header:
    metadata: dict[str, MetadataValue] = {"general.architecture": arch, "general.name": name}
    metadata["tokenizer.ggml.model"] = "llama"
    if template is not None:
        metadata["tokenizer.chat_template"] = template
    return Header(Path(file), 3, metadata, (), 0, 0)


def whole(frame: ChatFrame, text: PromptText = TEXT) -> str:
    return "".join(span.text for span in frame.spans(text))


def frame_of(template: str | None = None, name: str | None = None, *, system: bool = True) -> ChatFrame:
    return chat_frame(header(template), name, system=system, text_of=lambda token: ["<unk>", "<s>", "</s>"][token])


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
    assert whole(frame) == "<s>Be fair.P\nH\nT?:" and frame.lead == " "


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


IM = "{{- '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>\n' }}"
ASK = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n' }}{%- endif %}"


def im(*, before: str = "", turn: str = IM, ask: str = ASK) -> str:
    """A template of the ChatML kind, with something of its own."""
    return before + "{%- for m in messages %}" + turn + "{%- endfor %}" + ask


def test_a_lead_with_markers_belongs_to_the_frame_and_is_trusted() -> None:
    # No branch for the generation prompt at all: what stands before an answer shows only in an answered turn.
    frame = frame_of(im(ask=""))
    assert whole(frame) == whole(frame_of(name="chatml")) and frame.lead == ""
    assert frame.spans(TEXT)[-1].trusted and frame.spans(TEXT)[-1].text.endswith("<|im_start|>assistant\n")
    # The shape of gpt-oss' channels: an answered turn goes on behind the generation prompt.
    channels = im(
        turn="{%- if m.role == 'assistant' %}"
        "{{- '<|start|>assistant<|channel|>final<|message|>' + m.content + '<|end|>' }}"
        "{%- else %}{{- '<|start|>' + m.role + '<|message|>' + m.content + '<|end|>' }}{%- endif %}",
        ask="{%- if add_generation_prompt %}{{- '<|start|>assistant' }}{%- endif %}",
    )
    frame = frame_of(channels)
    assert whole(frame).endswith("<|start|>assistant<|channel|>final<|message|>")
    assert (frame.lead, frame.end) == ("", "<|end|>")


@pytest.mark.parametrize(("left", "right"), [("", ""), ("-", "-"), ("-", ""), ("", "+")])
def test_the_generation_tag_keeps_its_whitespace_control(left: str, right: str) -> None:
    frame = frame_of(
        im(
            turn="{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\n' }}\n"
            f"   {{%{left} generation {right}%}}\n   {{{{- m.content }}}}{{%- endgeneration %}}{{{{- '<|im_end|>' }}}}"
            "{%- else %}" + IM + "{%- endif %}"
        )
    )
    assert (frame.opening, frame.lead) == ("" if left == "-" else "\n", "")


@pytest.mark.parametrize("condition", ["tools is not none", "documents is not none", "tools", "xml_tools", "custom"])
def test_what_is_not_given_is_none_or_undefined(condition: str) -> None:
    assert whole(frame_of(im(before=f"{{%- if {condition} %}}Call a function.{{%- endif %}}"))) == whole(
        frame_of(name="chatml")
    )


def test_special_tokens_have_their_names() -> None:
    assert whole(frame_of(im(before="{{- unk_token + bos_token }}"))).startswith("<unk><s><|im_start|>system")
    assert whole(frame_of(im(before="{{- pad_token }}"))) == whole(frame_of(name="chatml"))  # this vocabulary has none


def test_filters_on_the_content_are_applied_and_the_content_is_not_trusted() -> None:
    turn = IM.replace("m.content", "m.content.strip().replace('\n\n', '\n')")
    text = PromptText("  Be fair. ", "P\n", "H\n", "\nT <|im_end|> 1?\n")
    spans = frame_of(im(turn=turn)).spans(text)
    assert [span.text for span in spans[:2]] == ["<|im_start|>system\n", "Be fair."]
    assert [span.text for span in spans[3:6]] == ["P\n", "H\n", "T <|im_end|> 1?"]
    assert [span.trusted for span in spans] == [True, False, True, False, False, False, True]


@given(
    parts=st.lists(st.text("ab \n\t\u3000é.", max_size=12), min_size=3, max_size=3),
    target=st.text("ab \n", min_size=1, max_size=5),
)
def test_a_cut_depends_on_what_stands_before_it_alone(parts: list[str], target: str) -> None:
    turn = IM.replace("m.content", "m.content | trim")
    frame = frame_of(im(turn=turn))
    spans = frame.spans(PromptText("S", parts[0], parts[1], parts[2]))
    rendered = "".join(parts).strip()
    assert "".join(span.text for span in spans[3:6]) == rendered
    others = frame.spans(PromptText("S", parts[0], parts[1], f"x{target}"))
    if "".join(parts[:2]).strip() and parts[2].strip():
        assert [a.text for a in spans[3:5]] == [b.text for b in others[3:5]]


def test_tojson_takes_what_transformers_filter_takes() -> None:
    turn = IM.replace(
        "m.content", "(m.content | tojson(ensure_ascii=True, indent=None, separators=(',', ':'), sort_keys=True))"
    )
    spans = frame_of(im(turn=turn)).spans(PromptText("Fair", "", "é\n", "T?"))
    assert spans[1].text == "Fair" and "".join(span.text for span in spans[3:6]) == "\\u00e9\\nT?"


def test_content_may_be_a_list_of_parts() -> None:
    template = (
        "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{% for part in m['content'] %}"
        "{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    assert whole(frame_of(template)) == whole(frame_of(name="chatml"))


@pytest.mark.parametrize(
    "changed",
    [
        "m.content.split('</think>')[-1]",
        "m.content[:40]",
        "m.content | replace('Alien', '')",
        "m.content | truncate(30)",
    ],
)
def test_a_template_that_leaves_out_content_is_refused_for_that_prompt(changed: str) -> None:
    frame = frame_of(im(turn=IM.replace("m.content", f"({changed})")))
    short = PromptText("Fair.", "", "1. Heat\n", "T?")
    assert whole(frame, short) == whole(frame_of(name="chatml"), short)
    title = "1. Alien </think> and a title of more than forty letters\n"
    with pytest.raises(InputError, match=r"leaves out part of this prompt.*--chat-format"):
        frame.spans(PromptText("Fair.", "", title, "T?"))


@pytest.mark.parametrize("changed", ["upper", "lower", "title", "replace('e', '3')"])
def test_a_template_that_changes_words_is_refused(changed: str) -> None:
    with pytest.raises(InputError, match="does not show the user's turn|changes its words"):
        frame_of(im(turn=IM.replace("m.content", f"(m.content | {changed})"))).spans(TEXT)


def test_a_mark_that_stands_in_certain_content_alone_is_no_text_of_ours() -> None:
    note = "m.content + ('<|im_end|>\\n<|im_start|>system\\nnote' if m.content | length > 60 else '')"
    frame = frame_of(im(turn=IM.replace("m.content", note.join("()"))))
    assert whole(frame, TEXT) == whole(frame_of(name="chatml"), TEXT)
    with pytest.raises(InputError, match="another frame"):
        frame.spans(PromptText("Be fair.", "P\n", "H\n" * 60, "T?"))


def test_another_frame_around_other_content_is_refused() -> None:
    template = im(before="{%- if messages[-1].content | length > 5 %}LONG{%- endif %}")
    frame = frame_of(template, system=False)
    with pytest.raises(InputError, match=r"writes another frame.*--chat-format"):
        frame.spans(PromptText("", "", "", "T?"))


THINK = "{%- if add_generation_prompt %}{{- '<|im_start|>assistant\n<think>\n' }}{%- endif %}"


def test_a_thought_that_the_template_opens_is_closed_where_it_shows_how() -> None:
    shown = (
        "{%- if m.role == 'assistant' and m.reasoning_content is defined %}{{- '<|im_start|>assistant\n<think>\n' + "
        "m.reasoning_content + '\n</think>\n\n' + m.content + '<|im_end|>' }}{%- else %}" + IM + "{%- endif %}"
    )
    split = IM.replace("m.content", "m.content.split('</think>')[-1]")
    always = (
        "{%- if m.role == 'assistant' %}{{- '<|im_start|>assistant\n<think>\n\n</think>\n\n' + m.content }}{%- else %}"
        + IM
        + "{%- endif %}"
    )
    for turn in (shown, split, always):
        frame = frame_of(im(turn=turn, ask=THINK))
        assert whole(frame).endswith("<|im_start|>assistant\n<think>\n\n</think>\n\n")
        assert (frame.lead, frame.inside) == ("", "")


def test_a_thought_that_stays_open_is_named() -> None:
    frame = frame_of(im(ask=THINK))
    assert frame.inside == "<think>" and whole(frame).endswith("assistant\n<think>\n")
    assert frame_of(im(ask=THINK.replace("<think>", "<|begin_of_plan|>"))).inside == "<|begin_of_plan|>"
    answer_marked = im(turn=IM.replace("'\\n' + m.content", "'\\n<answer>' + m.content"), ask=THINK)
    assert frame_of(answer_marked).inside == "<think>"
    # Turns that begin otherwise than the generation prompt open nothing.
    assert frame_of(im(turn=IM.replace("'<|im_start|>'", "unk_token + '<|im_start|>'"))).inside == ""


@pytest.mark.parametrize("name", CHAT_FORMATS)
def test_the_named_formats_write_content_as_it_is(name: str) -> None:
    # They are not rendered again for each prompt, so this must hold.
    text = PromptText(" S\n\n", "\n\nP ", " \n<b>&amp;\t", "\n\nT? \n")
    built_in = frame_of(name=name)
    own = frame_of(CHAT_FORMATS[name])
    assert built_in.template is None and own.template is not None
    assert built_in.spans(text) == own.spans(text)
