"""Damages inputs on purpose: bytes of any file, the entries of a GGUF, the values of a JSON file."""

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any, Self

from rella_gguf import ArrayInfo, TensorInfo, read_header
from rella_gguf.arrays import numbers, texts

_CODES = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9
_ODD_NUMBERS: tuple[float, ...] = (
    *(0, 1, 2, 3, 5, 7, 8, 63, 64, 512, 513, 1024, 1025, 65_536, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**64 - 1),
    *(-1, -2, -(2**31), 0.5, 1e-5, -1e-5, 1e30, float("nan"), float("inf"), float("-inf")),
)
_ODD_TEXTS = (
    *("", "a\0b", "\x1b[31m", "\udcff", "x" * 70_000, "{{ messages[0] }}", "{% for %}", "{{ 1/0 }}"),
    *"none no_vocab llama gpt2 bert t5 rwkv plamo2 test gemma4 whitespace hybriddna default kimi-k2 qwen2".split(),
    *"yarn longrope linear adapter lora".split(),
)
_ARCHITECTURES = (
    "qwen2 qwen3 qwen2moe gemma gemma2 gemma3 gemma-embedding phi2 phi3 falcon mpt gpt2 bloom mamba mamba2 rwkv6 bert "
    "nomic-bert t5 t5encoder deepseek2 olmo2 granite command-r stablelm starcoder2 llada eagle3 clip deci chatglm "
    "jamba llama4 mistral3 gpt-oss lfm2 nemotron_h minicpm smollm3 wavtokenizer-dec"
).split()
ODD_JSON: tuple[object, ...] = (
    None,
    True,
    -1,
    0,
    10**30,
    1.5,
    "",
    "x" * 300,
    "../..",
    [],
    {},
    [None],
    {"a": 1},
    "\x1b",
)
_NEW_KEYS = (
    "expert_count expert_used_count expert_group_count nextn_predict_layers pooling_type attention.causal vocab_size "
    "attention.sliding_window attention.key_length attention.value_length rope.dimension_sections rope.freq_base "
    "rope.scaling.type rope.scaling.factor attention.layer_norm_epsilon attention.clamp_kqv attention.max_alibi_bias "
    "logit_scale residual_scale embedding_scale embedding_length_out leading_dense_block_count feed_forward_length "
    "expert_feed_forward_length n_deepstack_layers classifier.output_labels attention.scale decoder_start_token_id"
).split()
_GENERAL_KEYS = (
    "general.alignment general.type general.architecture general.file_type split.count split.no split.tensors.count "
    "tokenizer.ggml.bos_token_id tokenizer.ggml.eos_token_id tokenizer.ggml.eot_token_id tokenizer.ggml.add_eos_token "
    "tokenizer.ggml.unknown_token_id tokenizer.ggml.pre tokenizer.ggml.merges tokenizer.ggml.add_space_prefix "
    "tokenizer.ggml.precompiled_charsmap tokenizer.ggml.suppress_tokens adapter.lora.alpha adapter.type "
    "adapter.alora.invocation_tokens adapter.lora.task_name adapter.lora.prompt_prefix rella.record"
).split()


@dataclass
class Parts:
    """A GGUF in pieces: metadata values by key, each with its type (of an array: that of its values), and tensors."""

    entries: list[tuple[str, int, Any]]
    tensors: list[tuple[TensorInfo, bytes]]
    offsets: dict[int, int] = field(default_factory=dict)
    alignment: int = 32

    @classmethod
    def of(cls, path: Path) -> Self:
        """Take a file apart."""
        header, data = read_header(path), path.read_bytes()
        entries: list[tuple[str, int, Any]] = []
        for key, value in header.metadata.items():
            (start, _), name = header.ranges[key], key.encode()
            (kind,) = struct.unpack_from("<I", data, start + 8 + len(name))
            if isinstance(value, ArrayInfo):
                words: list[Any] = texts(header, key) if value.type == _STRING else list(numbers(header, key))
                entries.append((key, value.type, words))
            else:
                entries.append((key, kind, value))
        tensors = [
            (t, data[header.data_start + t.offset : header.data_start + t.offset + t.nbytes]) for t in header.tensors
        ]
        return cls(entries, tensors, alignment=header.alignment)

    def pack(self) -> bytes:
        """Put it together, well-formed but for `offsets`, which stand in the table in place of the right ones."""
        rows, data = [], b""
        for number, (tensor, weights) in enumerate(self.tensors):
            rows.append(
                _string(tensor.name)
                + struct.pack(f"<I{len(tensor.shape)}Q", len(tensor.shape), *tensor.shape)
                + struct.pack("<IQ", tensor.type, self.offsets.get(number, len(data)))
            )
            data += weights + bytes(-len(weights) % self.alignment)
        start = b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.entries))
        start += b"".join(_entry(*entry) for entry in self.entries) + b"".join(rows)
        return start + bytes(-len(start) % self.alignment) + data


def damage_bytes(data: bytes, dice: Random, start: int = 0, end: int | None = None) -> bytes:
    """Flip, cut, insert, repeat or overwrite some of the bytes, of those from `start` to `end`."""
    result, end = bytearray(data), len(data) if end is None else min(end, len(data))
    for _ in range(dice.choice((1, 1, 2, 4))):
        at = dice.randrange(start, max(start + 1, end))
        size = dice.choice((1, 1, 2, 4, 8, 64, 1000))
        match dice.randrange(6):
            case 0:
                for place in range(at, min(at + dice.choice((1, 4)), len(result))):
                    result[place] ^= 1 << dice.randrange(8)
            case 1:
                del result[at:]
            case 2:
                result[at:at] = dice.randbytes(size)
            case 3:
                result[at:at] = result[at : at + size]
            case 4:
                del result[at : at + size]
            case _:
                result[at : at + 8] = struct.pack("<Q", int(dice.choice((0, 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1))))
    return bytes(result)


def damage_values(parts: Parts, dice: Random) -> None:
    """Change one to three things of a GGUF that stays well-formed."""
    for _ in range(dice.choice((1, 1, 2, 3))):
        dice.choice(_CHANGES)(parts, dice)


def damage_json(data: bytes, dice: Random) -> bytes:
    """Give a value somewhere in a JSON object another value, take it out, or add one."""
    value = json.loads(data)
    place: Any = value
    while True:
        key = dice.choice(list(place)) if isinstance(place, dict) else dice.randrange(len(place))
        if isinstance(place[key], dict | list) and place[key] and dice.random() < 0.7:
            place = place[key]
            continue
        break
    if dice.random() < 0.2:
        del place[key]
    else:
        place[key] = dice.choice(ODD_JSON)
    return json.dumps(value).encode()


def _replace_value(parts: Parts, dice: Random) -> None:
    number = dice.randrange(len(parts.entries))
    key, kind, value = parts.entries[number]
    parts.entries[number] = (key, kind, _other(kind, value, dice))


def _retype_value(parts: Parts, dice: Random) -> None:
    number = dice.randrange(len(parts.entries))
    key, _, value = parts.entries[number]
    parts.entries[number] = (key, *_any_value(dice, isinstance(value, list)))


def _remove_value(parts: Parts, dice: Random) -> None:
    del parts.entries[dice.randrange(len(parts.entries))]


def _double_value(parts: Parts, dice: Random) -> None:
    parts.entries.append(dice.choice(parts.entries))


def _add_value(parts: Parts, dice: Random) -> None:
    arch = next((str(value) for key, _, value in parts.entries if key == "general.architecture"), "llama")
    key = dice.choice((*(f"{arch}.{name}" for name in _NEW_KEYS), *_GENERAL_KEYS))
    kind, value = dice.choice(((4, int(dice.choice((0, 1, 2, 3, 4, 16, 2**32 - 1)))), _any_value(dice, False)))
    parts.entries = [entry for entry in parts.entries if entry[0] != key] + [(key, kind, value)]
    if key == "general.alignment" and kind == 4 and value in (1, 2, 4, 16):
        parts.alignment = value


def _change_architecture(parts: Parts, dice: Random) -> None:
    """Let the model be of another architecture, its keys, too."""
    new = dice.choice(_ARCHITECTURES)
    for number, (key, kind, value) in enumerate(parts.entries):
        if key == "general.architecture":
            parts.entries[number] = (key, _STRING, new)
        elif key.startswith("llama."):
            parts.entries[number] = (new + key.removeprefix("llama"), kind, value)
    parts.entries.append((f"{new}.attention.layer_norm_epsilon", 6, 1e-5))


def _change_tokens(parts: Parts, dice: Random) -> None:
    lists = [number for number, entry in enumerate(parts.entries) if isinstance(entry[2], list) and entry[2]]
    if not lists:
        return
    number = dice.choice(lists)
    key, kind, value = parts.entries[number]
    at, value = dice.randrange(len(value)), list(value)
    match dice.randrange(5):
        case 0:
            value[at] = dice.choice(value)
        case 1:
            del value[at]
        case 2:
            value.append(value[at])
        case 3:
            value = value[:at]
        case _:
            value[at] = _other(kind, value[at], dice)
    parts.entries[number] = (key, kind, value)


def _change_tensor(parts: Parts, dice: Random) -> None:
    if not parts.tensors:
        return
    number = dice.randrange(len(parts.tensors))
    tensor, data = parts.tensors[number]
    others = [other.name for other, _ in parts.tensors]
    match dice.randrange(6):
        case 0:
            sizes = list(tensor.shape) or [1]
            sizes[dice.randrange(len(sizes))] = dice.choice((0, 1, 3, 8, 15, 17, 32, 64, 2**31, 2**40, 2**63))
            parts.tensors[number] = (replace(tensor, shape=tuple(sizes)), data)
        case 1:
            shape = dice.choice((tensor.shape[::-1], (*tensor.shape, 1), (*tensor.shape, 2), (), tensor.shape[:1]))
            parts.tensors[number] = (replace(tensor, shape=shape), data)
        case 2:
            kind = dice.randrange(44)
            parts.tensors[number] = (replace(tensor, type=kind), (data * 4)[: dice.choice((len(data), len(data) * 2))])
        case 3:
            names = ("cls.weight", "output.bias", "rope_freqs.weight", "x" * 64, "", tensor.name[:-1], *others)
            parts.tensors[number] = (replace(tensor, name=dice.choice(names)), data)
        case 4:
            parts.offsets[number] = dice.choice((0, 1, 16, 32, 2**32, 2**63, 2**64 - 32))
        case _:
            del parts.tensors[number]


_CHANGES: tuple[Callable[[Parts, Random], None], ...] = (
    _replace_value,
    _replace_value,
    _retype_value,
    _remove_value,
    _double_value,
    _add_value,
    _add_value,
    _change_architecture,
    _change_tokens,
    _change_tokens,
    _change_tensor,
    _change_tensor,
)


def _other(kind: int, value: Any, dice: Random) -> Any:
    if isinstance(value, list):
        return [_other(kind, one, dice) if dice.random() < 0.1 else one for one in value]
    return dice.choice(_ODD_TEXTS) if kind == _STRING else dice.choice(_ODD_NUMBERS)


def _any_value(dice: Random, many: bool) -> tuple[int, Any]:
    kind = dice.choice((*_CODES, _STRING))
    values = [dice.choice(_ODD_TEXTS if kind == _STRING else _ODD_NUMBERS) for _ in range(dice.choice((0, 1, 2, 5)))]
    return (kind, values) if many or dice.random() < 0.1 else (kind, _other(kind, None, dice))


def _entry(key: str, kind: int, value: Any) -> bytes:
    if isinstance(value, list):
        head = struct.pack("<IIQ", _ARRAY, kind, len(value))
        return _string(key) + head + b"".join(_packed(kind, one) for one in value)
    return _string(key) + struct.pack("<I", kind) + _packed(kind, value)


def _packed(kind: int, value: Any) -> bytes:
    """Pack a value as a type, whatever is left of it there."""
    if kind == _STRING:
        return _string(value if isinstance(value, bytes | str) else str(value))
    code = _CODES[kind]
    if code in "fd":
        return struct.pack(f"<{code}", float(value))
    size = struct.calcsize(code)
    whole = int(value) if value == value and abs(value) != float("inf") else 0
    return (1 if code == "?" and whole else whole % (1 << 8 * size)).to_bytes(size, "little")


def _string(text: str | bytes) -> bytes:
    data = text.encode("utf-8", "surrogateescape") if isinstance(text, str) else text
    return struct.pack("<Q", len(data)) + data
