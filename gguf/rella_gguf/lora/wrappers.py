"""Multimodal wrappers: what they call the language model's modules, and what in them is no language model.

A GGUF holds the language model alone, so an adapter that was trained on the whole (Gemma3ForConditionalGeneration,
Qwen2VLForConditionalGeneration, …) has longer names than the base.
"""

import re

# How a wrapped name begins, and how the language model's own does.
_WRAPPED = (
    ("model.language_model.", "model."),  # transformers since 4.52
    ("language_model.model.", "model."),  # before
    ("language_model.lm_head", "lm_head"),
    ("language_model.", "model."),  # the wrapper without its output, as AutoModel loads it
    ("model.text_model.", "model."),  # SmolVLM, Idefics
)
_PARTS = (
    ("vision tower", r"vision_tower|vision_model|visual"),
    ("audio tower", r"audio_tower|audio_model"),
    ("projector", r"multi_modal_projector|embed_vision|embed_audio|connector"),
)


def plain_name(module: str) -> str:
    """Return what the language model by itself calls a module; a name that is not wrapped stays as it is."""
    for wrapped, plain in _WRAPPED:
        if module.startswith(wrapped):
            return plain + module.removeprefix(wrapped)
    return module


def other_part(module: str) -> tuple[str, str] | None:
    """Tell which part of a wrapper a module is in, such as ("vision tower", "visual"); None if it is in none."""
    for part, names in _PARTS:
        if found := re.match(rf"(?:model\.)?({names})\.", module):
            return part, found[1]
    return None
