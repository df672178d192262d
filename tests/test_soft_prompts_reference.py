"""The same soft prompt in llama.cpp and in transformers with PEFT. Needs the extra `train`; run by hand."""

import dataclasses
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_peft_reference import TEXTS
from test_reference import F32, SHAPE, transformers_model
from tiny_model import random_weights, spm_vocab, write_model

from rella_cpp.engine.engine import Engine
from rella_cpp.engine.segments import Prompt
from rella_gguf import InputError, convert_soft_prompt, read_soft_prompt

pytestmark = pytest.mark.reference

CASES: dict[str, dict[str, Any]] = {
    "prompt tuning": {"peft_type": "PROMPT_TUNING"},
    "prompt tuning, from words": {"peft_type": "PROMPT_TUNING", "prompt_tuning_init": "SAMPLE_VOCAB"},
    "prompt tuning, bfloat16": {"peft_type": "PROMPT_TUNING", "dtype": "bfloat16"},
    "prompt tuning, float16": {"peft_type": "PROMPT_TUNING", "dtype": "float16"},
    "p-tuning": {"peft_type": "P_TUNING", "encoder_hidden_size": 24},
    "p-tuning, LSTM": {
        "peft_type": "P_TUNING",
        "encoder_hidden_size": 24,
        "encoder_reparameterization_type": "LSTM",
    },
}


def prompted(reference: Any, settings: dict[str, Any], folder: Path) -> Any:
    """Put a soft prompt on the model, save it, and return the model with it."""
    torch, peft = pytest.importorskip("torch"), pytest.importorskip("peft")
    settings = dict(settings)
    dtype = getattr(torch, settings.pop("dtype", "float32"))
    torch.manual_seed(5)
    config = peft.get_peft_config({"task_type": "CAUSAL_LM", "num_virtual_tokens": 7, **settings})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what PEFT asks of transformers
        model = peft.get_peft_model(reference, config).eval()
        model.prompt_encoder.to(dtype)
        model.save_pretrained(folder)
    return model


@pytest.mark.parametrize("case", CASES)
def test_a_soft_prompt_is_the_one_that_peft_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str
) -> None:
    torch = pytest.importorskip("torch")
    n_vocab = len(spm_vocab().tokens)
    weights = random_weights(n_vocab, SHAPE, seed=3)
    base = write_model(tmp_path / "m.gguf", shape=dataclasses.replace(SHAPE, ctx=512), weights=weights)
    model = prompted(transformers_model(weights, n_vocab), CASES[case], tmp_path / "peft")
    done = convert_soft_prompt(tmp_path / "peft", tmp_path / "s.gguf", base=base)
    soft = read_soft_prompt(tmp_path / "s.gguf")
    # With gradients, as when it was saved: without, torch takes another kernel for an LSTM, and last bits differ.
    expected = model.get_prompt(1)[0].detach().float().numpy()
    assert (done.kind, done.notes) == (CASES[case]["peft_type"], ())
    assert soft.embeddings.tobytes() == expected.tobytes()

    difference = effect = 0.0
    with Engine.from_gguf(base, F32) as engine, torch.inference_mode():
        for text in TEXTS:
            tokens = np.asarray([1, *engine.vocabulary.tokenize(text)], dtype=np.int32)
            # PEFT's own order: the soft prompt first, then BOS.
            (found,) = engine.logits([Prompt((soft.embeddings, tokens), outputs=len(tokens))])
            (plain,) = engine.logits([Prompt((tokens,), outputs=len(tokens))])
            wanted = model(torch.from_numpy(tokens[None].astype(np.int64))).logits[0, soft.tokens :].numpy()
            difference = max(difference, float(np.abs(found - wanted).max()))
            effect = max(effect, float(np.abs(found - plain).max()))
    with capsys.disabled():
        what = f"{case}: {soft.tokens} tokens of a width of {soft.width}"
        print(f"\n{what}: largest |Δlogit| {difference:.2e} where the prompt changes up to {effect:.2f}")
    assert effect > 1
    assert difference <= 1e-4


@pytest.mark.parametrize("peft_type", ["PREFIX_TUNING", "MULTITASK_PROMPT_TUNING"])
def test_what_peft_saves_of_other_prompts_is_refused(tmp_path: Path, peft_type: str) -> None:
    peft = pytest.importorskip("peft")
    n_vocab = len(spm_vocab().tokens)
    reference = transformers_model(random_weights(n_vocab, SHAPE, seed=3), n_vocab)
    more = {"num_tasks": 2} if peft_type == "MULTITASK_PROMPT_TUNING" else {}
    config = peft.get_peft_config({"task_type": "CAUSAL_LM", "num_virtual_tokens": 3, "peft_type": peft_type, **more})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what PEFT asks of transformers
        peft.get_peft_model(reference, config).save_pretrained(tmp_path / "peft")
    with pytest.raises(InputError, match=peft_type):
        convert_soft_prompt(tmp_path / "peft", tmp_path / "s.gguf")
