"""adapter_config.json of a PEFT folder: what it asks for, and what of it can be converted."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rella_gguf.errors import InputError
from rella_gguf.peft_files import SAVED, SOFT_TYPES, name_of, read_object, require, unknown_keys

_TOO_MUCH = 1e9
_LEAST = 1e-30  # below some 1e-38 a float32 is 0, which llama.cpp takes for no alpha at all

_MERGE = "merge it into the base in peft (merge_and_unload), and convert that model with llama.cpp"
_PLAIN = "train it without, or merge it into the base in peft (merge_and_unload) and convert that model with llama.cpp"


@dataclass(frozen=True, slots=True)
class Unsupported:
    """A key of PEFT's LoraConfig that makes an adapter more than pairs of matrices; empty, false or "none" is off."""

    key: str
    finding: str
    remedy: str = _PLAIN


UNSUPPORTED = (
    Unsupported("use_dora", "is DoRA: it rescales the base's own weights, which a GGUF adapter cannot", _MERGE),
    Unsupported("bias", "trains biases, which a GGUF adapter cannot hold"),
    Unsupported("lora_bias", "gives lora_B a bias, which a GGUF adapter cannot hold"),
    Unsupported("modules_to_save", "trains whole modules (modules_to_save), which a GGUF adapter cannot hold"),
    Unsupported("trainable_token_indices", "trains single tokens' embeddings, which a GGUF adapter cannot hold"),
    Unsupported("target_parameters", "adapts parameters that are no modules (target_parameters)"),
    Unsupported("layer_replication", "repeats layers of the base (layer_replication), which the base's GGUF does not"),
    Unsupported("alora_invocation_tokens", "is an activated LoRA: it acts only after certain tokens"),
    Unsupported("use_qalora", "is QA-LoRA: its lora_A reads averages of inputs"),
    Unsupported("use_bdlora", "is BD-LoRA: its matrices are stored as blocks"),
    Unsupported("arrow_config", "is an Arrow router over several adapters"),
    Unsupported("kasa_config", "is KaSA: it cuts the base's own weights", _MERGE),
    Unsupported("monteclora_config", "is MonteCLoRA: it samples its weights"),
)
# Their first weights are taken out of the base, which is another model after that.
_CHANGES_BASE = ("pissa", "olora", "corda", "loftq", "lora_ga")
_KNOWN = frozenset(
    "peft_type r lora_alpha target_modules rank_pattern alpha_pattern use_rslora base_model_name_or_path revision"
    " init_lora_weights auto_mapping task_type inference_mode peft_version lora_dropout exclude_modules fan_in_fan_out"
    " layers_to_transform layers_pattern megatron_config megatron_core loftq_config eva_config corda_config"
    " lora_ga_config velora_config runtime_config qalora_group_size ensure_weight_tying".split()
) | {refusal.key for refusal in UNSUPPORTED}


@dataclass(frozen=True, slots=True)
class PeftConfig:
    """The part of LoraConfig that says what the matrices mean. `base` and `revision` are "" where it does not say.

    `unknown` names keys that are set and that this version does not know.
    """

    rank: int
    alpha: float
    targets: tuple[str, ...] | str
    rank_pattern: Mapping[str, int]
    alpha_pattern: Mapping[str, float]
    rslora: bool
    base: str
    revision: str
    unknown: tuple[str, ...]

    def rank_of(self, module: str) -> int:
        """Return the rank that `module` was trained with."""
        key = _pattern_of(self.rank_pattern, module)
        return self.rank if key is None else self.rank_pattern[key]

    def alpha_of(self, module: str) -> float:
        """Return the alpha that makes alpha / rank the scale of `module`; rsLoRA's scale is alpha / √rank."""
        key = _pattern_of(self.alpha_pattern, module)
        alpha = self.alpha if key is None else self.alpha_pattern[key]
        return alpha * math.sqrt(self.rank_of(module)) if self.rslora else alpha

    @property
    def base_name(self) -> str:
        """What the base is called: the repository, or a folder's own name without where it lies."""
        return name_of(self.base)

    def is_target(self, module: str, target: str) -> bool:
        """Tell whether the entry `target` of target_modules names `module`."""
        return module == target or module.endswith(f".{target}")


def _pattern_of(patterns: Mapping[str, object], module: str) -> str | None:
    """Return the first pattern that matches the end of a module's name, as PEFT's get_pattern_key does."""
    return next((key for key in patterns if re.match(rf"(.*\.)?({key})$", module)), None)


def read_config(path: Path) -> PeftConfig:
    """Read and check an adapter_config.json.

    Raises
    ------
    InputError
        It cannot be read, lacks a required key, holds a value that cannot be, or asks for more than LoRA.

    """
    values = read_object(path, SAVED)
    require(path, values, "peft_type")
    if values["peft_type"] != "LORA":
        soft = values["peft_type"] in SOFT_TYPES
        remedy = "it is a soft prompt: rella soft convert" if soft else "only LORA can be converted"
        raise InputError(f"is a PEFT adapter of the type {values['peft_type']}", source=path, remedy=remedy)
    require(path, values, "r", "lora_alpha", "target_modules")
    for refusal in UNSUPPORTED:
        if values.get(refusal.key) and values[refusal.key] != "none":
            raise InputError(refusal.finding, source=path, place=refusal.key, remedy=refusal.remedy)
    start = values.get("init_lora_weights")
    if isinstance(start, str) and start.lower().startswith(_CHANGES_BASE):
        raise InputError(
            f"{start} changes the base's weights, and this adapter fits the changed base only",
            source=path,
            place="init_lora_weights",
            remedy="save it with path_initial_model_for_weight_conversion (see PEFT's docs), then convert that",
        )
    return PeftConfig(
        rank=int(_number(path, "r", values["r"], whole=True)),
        alpha=_number(path, "lora_alpha", values["lora_alpha"]),
        targets=_targets(path, values["target_modules"]),
        rank_pattern={key: int(rank) for key, rank in _pattern(path, values, "rank_pattern", whole=True).items()},
        alpha_pattern=_pattern(path, values, "alpha_pattern"),
        rslora=values.get("use_rslora") is True,
        base=_text(values, "base_model_name_or_path"),
        revision=_text(values, "revision"),
        unknown=unknown_keys(values, _KNOWN),
    )


def _text(values: Mapping[str, object], key: str) -> str:
    value = values.get(key)
    return value if isinstance(value, str) else ""


def _number(path: Path, place: str, value: object, *, whole: bool = False) -> float:
    """Check a rank or an alpha. Zero would adapt nothing, and llama.cpp takes an alpha of 0 for no alpha at all."""
    fits = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
    if not fits or not isinstance(value, int | float) or not _LEAST < value < _TOO_MUCH:
        remedy = f"it is a {'whole ' if whole else ''}number above 0"
        raise InputError(f"is {json.dumps(value)[:100]}", source=path, place=place, remedy=remedy)
    return value


def _targets(path: Path, value: object) -> tuple[str, ...] | str:
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(name, str) for name in value):
        return tuple(value)
    raise InputError(
        f"is {json.dumps(value)[:100]}",
        source=path,
        place="target_modules",
        remedy='it is a list of module names, such as ["q_proj", "v_proj"], or a regular expression',
    )


def _pattern(path: Path, values: Mapping[str, object], key: str, *, whole: bool = False) -> dict[str, float]:
    pattern = values.get(key) or {}
    if not isinstance(pattern, dict):
        raise InputError("is no object", source=path, place=key, remedy="it maps module names to numbers")
    for name in pattern:
        try:
            re.compile(rf"(.*\.)?({name})$")
        except (re.error, RecursionError, OverflowError) as error:
            raise InputError(
                f"{name!r} is no regular expression ({error})", source=path, place=key, remedy="mend it"
            ) from None
    return {name: _number(path, f"{key} of {name}", value, whole=whole) for name, value in pattern.items()}
