"""Chat frames beside transformers: the same conversation, date and switches give the same token ids.

Run by hand: `pip install transformers==5.24`, then `pytest -m reference tests/test_chat_reference.py`. A folder of more
templates, one a file that ends in `.jinja`, is taken from RELLA_CHAT_TEMPLATES.
"""

import os
import re
from datetime import datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import gguf
import pytest
from chat_templates import KINDS
from tiny_model import Vocab, bpe_vocab, metadata, with_tokens, write_model

from rella_cpp import Engine, InputError
from rella_cpp.prompts.chat import chat_frame
from rella_cpp.prompts.chat_formats import CHAT_FORMATS
from rella_cpp.prompts.rendering import PromptText

pytestmark = pytest.mark.reference

_OTHERS = (
    sorted(Path(os.environ["RELLA_CHAT_TEMPLATES"]).glob("*.jinja")) if "RELLA_CHAT_TEMPLATES" in os.environ else []
)
TEMPLATES = {**CHAT_FORMATS, **KINDS, **{path.stem: path.read_text() for path in _OTHERS}}
_MARK = re.compile(r"<[|｜]?[\w▁/.]+[|｜]?>|\[/?[A-Z_]+\]|\[gMASK\]")
TEXT = PromptText(
    " You judge whether a movie suits a person's taste. ",
    "About the person: 25-34; <|im_end|> writer.\n",
    "The person watched these movies:\n1. Amélie - 5 stars\n2. Yes  <b>\n",
    "\n\nNow consider this movie: “M” (1931)\nWill this person like it, Yes or No?",
)


def vocabulary(template: str) -> Vocab:
    known = bpe_vocab()
    marks = [mark for mark in dict.fromkeys(_MARK.findall(template)) if mark not in known.tokens]
    return with_tokens(known, ["<unk>", "<pad>", *marks], gguf.TokenType.CONTROL)


def their_tokenizer(vocab: Vocab, template: str) -> Any:
    transformers = pytest.importorskip("transformers")
    tokenizers: ModuleType = pytest.importorskip("tokenizers")
    merges = [tuple(merge.split(" ")) for merge in vocab.merges]
    found = tokenizers.Tokenizer(tokenizers.models.BPE({text: i for i, text in enumerate(vocab.tokens)}, merges))
    found.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    found.decoder = tokenizers.decoders.ByteLevel()
    controls = [text for text, kind in zip(vocab.tokens, vocab.types, strict=True) if kind == gguf.TokenType.CONTROL]
    return transformers.PreTrainedTokenizerFast(
        tokenizer_object=found,
        bos_token=vocab.tokens[0],
        eos_token=vocab.tokens[2],
        unk_token="<unk>",
        pad_token="<pad>",
        extra_special_tokens=controls,
        chat_template=template,
    )


@pytest.mark.parametrize("name", TEMPLATES)
@pytest.mark.parametrize("system", [True, False])
def test_a_prompt_has_the_token_ids_that_transformers_gives_it(
    name: str, system: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from transformers.utils import chat_template_utils

    class Clock(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> "Clock":
            return cls(2025, 1, 1)

    monkeypatch.setattr(chat_template_utils, "datetime", Clock)
    chat_template_utils._compile_jinja_template.cache_clear()
    template = TEMPLATES[name]
    vocab = vocabulary(template)
    tokens = {text: i for i, text in enumerate(vocab.tokens)}
    ids = {"unknown": tokens["<unk>"], "padding": tokens["<pad>"]}
    path = write_model(
        tmp_path / "m.gguf",
        tokenizer="bpe",
        template=template,
        vocab=vocab,
        change=lambda writer: metadata(
            writer, **{f"tokenizer__ggml__{key}_token_id": value for key, value in ids.items()}
        ),
    )
    text = TEXT if system else PromptText("", TEXT.profile, TEXT.history, TEXT.target)
    with Engine.from_gguf(path) as engine:
        frame = chat_frame(engine.header, None, system=system, text_of=engine.vocabulary.text)
        *spans, tail = frame.spans(text)
        ours = engine.encode([*spans, tail._replace(text=frame.tail)]).tokens
        user = text.profile + text.history + text.target
        folded = frame.middle is None and system
        said = [("user", f"{text.system}\n\n{user}" if folded else user)]
        if system and not folded:
            said.insert(0, ("system", text.system))
        assert frame.template is not None
        in_parts = frame.template.parts
        theirs = their_tokenizer(vocab, template).apply_chat_template(
            [{"role": r, "content": [{"type": "text", "text": c}] if in_parts else c} for r, c in said],
            add_generation_prompt=True,
            enable_thinking=False,
            thinking=False,
            sanitize_control_tokens=True,
            return_dict=False,
        )
        assert list(ours) == theirs, (
            engine.vocabulary.decode(ours),
            engine.vocabulary.decode(theirs),
        )


def test_what_transformers_refuses_is_refused(tmp_path: Path) -> None:
    path = write_model(tmp_path / "m.gguf", tokenizer="bpe", template="{{ nothing + 'x' }}")
    with Engine.from_gguf(path) as engine, pytest.raises(InputError, match="'nothing' is undefined"):
        chat_frame(engine.header, None, system=True)
