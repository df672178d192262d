"""The model that an adapter adapts: what its conversion needs to know of it, from a GGUF or a config.json."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rella_gguf.checks import check_model, tensor_shapes
from rella_gguf.errors import GGUFError, InputError
from rella_gguf.lora.peft_config import PeftConfig
from rella_gguf.peft_files import read_object

_SEPARATE = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "lm_head", "embed_tokens")
_FUSED = ("qkv_proj", "o_proj", "gate_up_proj", "down_proj", "lm_head", "embed_tokens")
_OTHERS = "llama.cpp's convert_lora_to_gguf.py knows more architectures"
_GIVE = "give the base's GGUF with --base"


@dataclass(frozen=True, slots=True)
class Architecture:
    """An architecture whose adapters can be converted.

    Attributes
    ----------
    name
        In GGUF.
    model_types
        In config.json.
    permuted
        Rows of the query and key matrices stand in another order in GGUF (RoPE pairs side by side).
    tied
        What holds where config.json does not say tie_word_embeddings.
    modules
        The last parts of the names of modules that can be adapted.

    """

    name: str
    model_types: tuple[str, ...]
    permuted: bool = False
    tied: bool = False
    modules: tuple[str, ...] = _SEPARATE


ARCHITECTURES = (
    Architecture("llama", ("llama", "mistral", "mixtral"), permuted=True),
    Architecture("smollm3", ("smollm3",), permuted=True, tied=True),
    Architecture("granite", ("granite",), permuted=True),
    Architecture("mistral3", ("ministral3",), permuted=True),
    Architecture("qwen2", ("qwen2",)),
    Architecture("qwen2vl", ("qwen2_vl", "qwen2_vl_text", "qwen2_5_vl", "qwen2_5_vl_text")),
    Architecture("qwen3", ("qwen3",)),
    Architecture("qwen3vl", ("qwen3_vl", "qwen3_vl_text")),
    Architecture("gemma", ("gemma",), tied=True),
    Architecture("gemma2", ("gemma2",), tied=True),
    Architecture("gemma3", ("gemma3_text", "gemma3"), tied=True),
    Architecture("phi3", ("phi3",), modules=_FUSED),
)


@dataclass(frozen=True, slots=True)
class Base:
    """What the conversion needs to know of a base model.

    Attributes
    ----------
    source
        The GGUF or the config.json that says so.
    architecture, layers, heads, heads_kv
        Its kind and sizes.
    tied
        The output matrix is the embedding matrix.
    shapes
        Its tensors' shapes in GGML order, by name; empty where only config.json is known.

    """

    source: Path
    architecture: Architecture
    layers: int
    heads: int
    heads_kv: int
    tied: bool
    shapes: Mapping[str, tuple[int, ...]]


def find_base(config: PeftConfig, path: Path | None, source: Path) -> Base:
    """Read the base model that is given, else the config.json of the one that a PEFT config names.

    That is looked for in a folder of that name and among what Hugging Face's hub has left on this machine; the network
    is not touched.

    Parameters
    ----------
    config
        Of the adapter.
    path
        The base's GGUF, if given.
    source
        The adapter's folder, to name in errors.

    Raises
    ------
    InputError
        It is no model, of an architecture that cannot be converted, or nothing of it is on this machine.

    """
    if path is not None:
        return _of_gguf(path)
    if not config.base:
        raise InputError("does not say which model it adapts", source=source, remedy=_GIVE)
    found = _cached(config)
    if found is None:
        raise InputError(
            f"adapts {config.base:.200}, and no config.json of that is on this machine", source=source, remedy=_GIVE
        )
    return _of_config(found)


def _cached(config: PeftConfig) -> Path | None:
    """Find the config.json of the model that the adapter names."""
    from huggingface_hub import try_to_load_from_cache

    folder = Path(config.base)
    try:
        if folder.is_dir():
            return folder / "config.json"
        found = try_to_load_from_cache(config.base, "config.json", revision=config.revision or None)
    except (ValueError, OSError):  # no name of a folder or a repository
        return None
    return Path(found) if isinstance(found, str) else None


def _of_gguf(path: Path) -> Base:
    header = check_model(path)
    architecture = next((known for known in ARCHITECTURES if known.name == header.architecture), None)
    if architecture is None:
        raise _unknown(path, header.architecture, [known.name for known in ARCHITECTURES])
    shapes = tensor_shapes(header)
    layers = header.integer(f"{header.architecture}.block_count")
    heads = header.integer(f"{header.architecture}.attention.head_count")
    heads_kv = header.integer(f"{header.architecture}.attention.head_count_kv")
    if layers is None or heads is None or not 0 < (heads_kv or heads) <= heads:
        raise GGUFError("does not say how many layers and heads it has", source=path, remedy="it is damaged")
    tied = "output.weight" not in shapes
    return Base(path, architecture, layers, heads, heads_kv or heads, tied, shapes)


def _of_config(path: Path) -> Base:
    values = read_object(path, _GIVE)
    inner = values.get("text_config")
    words = {**values, **inner} if isinstance(inner, dict) else values
    kind = str(words.get("model_type"))
    architecture = next((known for known in ARCHITECTURES if kind in known.model_types), None)
    if architecture is None:
        raise _unknown(path, kind, [name for known in ARCHITECTURES for name in known.model_types])
    layers, heads = words.get("num_hidden_layers"), words.get("num_attention_heads")
    heads_kv = words.get("num_key_value_heads") or heads
    if not isinstance(layers, int) or not isinstance(heads, int) or not isinstance(heads_kv, int):
        raise InputError("does not say how many layers and heads there are", source=path, remedy=_GIVE)
    if not (0 < layers <= 512 and 0 < heads_kv <= heads):
        raise InputError(f"has {layers} layers, {heads} and {heads_kv} heads", source=path, remedy=_GIVE)
    tied = words.get("tie_word_embeddings", values.get("tie_word_embeddings", architecture.tied))
    return Base(path, architecture, layers, heads, heads_kv, bool(tied), {})


def _unknown(source: Path, found: str, known: list[str]) -> InputError:
    return InputError(
        f"is of the architecture {found or '(none)'}, whose adapters are not converted here",
        source=source,
        remedy=f"{', '.join(known)} are; {_OTHERS}",
    )
