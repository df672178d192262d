"""Convert a PEFT adapter to GGUF: names, order of rows, scale.

What is written is float32, whatever PEFT saved: with matrices in half precision, llama.cpp rounds what it multiplies
them with as well, and logits are off by 1e-2 where they would be off by 1e-5.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rella_gguf.errors import InputError
from rella_gguf.lora.bases import Base, find_base
from rella_gguf.lora.peft import PeftAdapter, PeftPair, read_peft
from rella_gguf.lora.wrappers import other_part, plain_name
from rella_gguf.peft_files import WEIGHTS, Matrix, check_converted
from rella_gguf.tensor_files import add_base, add_record, encodable, write_tensors

_OTHER_BASE = "give the base model that the adapter was trained on"
_OUTER = ("lm_head", "embed_tokens")


@dataclass(frozen=True, slots=True)
class Conversion:
    """What was written.

    Attributes
    ----------
    out, base, architecture
        The adapter's file; the GGUF or config.json that told the architecture; that.
    pairs, ranks, targets
        How many matrices are adapted, with which ranks, and which kinds of modules.
    alpha
        The alpha written: llama.cpp scales each pair by alpha / rank.
    rescaled
        Pairs whose lora_B was multiplied, because their own alpha is another one.
    record
        How the adapter was tuned, as its trainer wrote it; it is in the file.
    notes
        What was left aside or not checked, as sentences.

    """

    out: str
    base: str
    architecture: str
    pairs: int
    ranks: tuple[int, ...]
    targets: tuple[str, ...]
    alpha: float
    rescaled: int
    record: Mapping[str, object] | None
    notes: tuple[str, ...]


def convert_adapter(
    folder: str | Path, out: str | Path, *, base: str | Path | None = None, force: bool = False
) -> Conversion:
    """Convert the LoRA adapter in a PEFT folder to a GGUF adapter.

    One that was trained on a multimodal model converts as if it had been trained on the language model in it.

    Parameters
    ----------
    folder
        Holds adapter_config.json and adapter_model.safetensors.
    out
        The file to write.
    base
        The GGUF of the model that it adapts: names and sizes are checked against it. Without it, the architecture comes
        from the config.json of the model that the adapter names, if that is on this machine.
    force
        Overwrite `out`.

    Raises
    ------
    InputError
        The folder holds no plain LoRA adapter, it does not fit the base, or `out` is there already, is one of the
        inputs or cannot be written.

    """
    folder, out, base = Path(folder), Path(out), None if base is None else Path(base)
    check_converted(out, folder, base, force=force)
    adapter = read_peft(folder)
    model = find_base(adapter.config, base, folder)
    pairs = _named(adapter, model)
    # One alpha for all: the most common one, so that as few matrices as can be are multiplied.
    alpha = Counter(pair.alpha for pair in pairs.values()).most_common(1)[0][0]
    tensors: dict[str, Matrix] = {}
    for name, pair in sorted(pairs.items()):
        tensors[f"{name}.lora_a"], tensors[f"{name}.lora_b"] = _sides(name, pair, alpha, model)
    _write(out, adapter, model, alpha, tensors)
    notes = list(adapter.notes)
    if not model.shapes:
        notes.append("no base GGUF was given: sizes are checked when the adapter is loaded")
    return Conversion(
        out=str(out),
        base=str(model.source),
        architecture=model.architecture.name,
        pairs=len(pairs),
        ranks=tuple(sorted({pair.rank for pair in pairs.values()})),
        targets=adapter.targets,
        alpha=alpha,
        rescaled=sum(pair.alpha != alpha for pair in pairs.values()),
        record=adapter.record,
        notes=tuple(notes),
    )


def _named(adapter: PeftAdapter, model: Base) -> dict[str, PeftPair]:
    """Give each pair its tensor's name in GGUF, and check that it fits the base."""
    from gguf import MODEL_ARCH_NAMES, get_tensor_name_map

    kinds = {name: kind for kind, name in MODEL_ARCH_NAMES.items()}
    names = get_tensor_name_map(kinds[model.architecture.name], model.layers)
    pairs: dict[str, PeftPair] = {}
    for module, pair in adapter.pairs.items():
        known, last = names.get_name(plain_name(module)), module.rpartition(".")[2]
        name = f"{known}.weight"
        if part := other_part(module):
            finding = f"is in the {part[0]} of a multimodal model, of which a GGUF holds the language model alone"
            remedy = f'train without it: in PEFT, exclude_modules=r".*{part[1]}.*"'
        elif last not in model.architecture.modules:
            finding, remedy = "is a module that is not known", f"known are {', '.join(model.architecture.modules)}"
        elif model.tied and last in _OUTER:
            finding = f"is adapted, and {model.source.name} has one matrix for embeddings and output (tied)"
            remedy = "give a base GGUF that holds output.weight by itself, or train without lm_head and embed_tokens"
        elif known is None:
            finding, remedy = f"is not in {model.source.name}, which has {model.layers} layers", _OTHER_BASE
        elif pair.embedding is not (last == "embed_tokens"):
            finding, remedy = "is adapted as what it is not, an embedding or a linear module", "save the adapter again"
        elif name in pairs:
            finding, remedy = f"is adapted twice, under two names of {name}", "save the adapter again"
        else:
            _check_size(adapter, module, name, pair, model)
            pairs[name] = pair
            continue
        raise InputError(finding, source=adapter.folder / WEIGHTS, place=module, remedy=remedy)
    return pairs


def _check_size(adapter: PeftAdapter, module: str, name: str, pair: PeftPair, model: Base) -> None:
    """Check a pair against the base's tensor; without a base GGUF, that its rows can be those of heads."""
    inputs, outputs = pair.a.shape[1], pair.b.shape[0]
    found = (outputs, inputs) if pair.embedding else (inputs, outputs)
    expected = model.shapes.get(name)
    heads = _heads(name, model)
    if model.shapes and expected is None:
        finding = f"is adapted, and the base has no {name}"
    elif expected is not None and found != expected:
        finding = f"is adapted at the size {found[0]} × {found[1]}, the base's {name} is {expected[0]} × {expected[1]}"
        if len(expected) != 2:
            finding = f"is adapted, and the base's {name} is no matrix"
    elif heads and outputs % (2 * heads):
        finding = f"has {outputs} outputs, which are no {heads} heads"
    else:
        return
    raise InputError(
        f"{finding} ({model.source.name})", source=adapter.folder / WEIGHTS, place=module, remedy=_OTHER_BASE
    )


def _heads(name: str, model: Base) -> int:
    """Return the heads by which the rows of this tensor are permuted, 0 where they are not."""
    if not model.architecture.permuted:
        return 0
    return model.heads if name.endswith("attn_q.weight") else model.heads_kv if name.endswith("attn_k.weight") else 0


def _sides(name: str, pair: PeftPair, alpha: float, model: Base) -> tuple[Matrix, Matrix]:
    """Return lora_a and lora_b as llama.cpp wants them, of a pair whose scale is to be alpha / rank."""
    a, b = pair.a, pair.b
    if pair.alpha != alpha:
        with np.errstate(over="ignore"):
            b = (b.astype(np.float64) * (pair.alpha / alpha)).astype(np.float32)
        if not np.isfinite(b).all():
            raise InputError(
                f"{name} has the alpha {pair.alpha:g}, most have {alpha:g}: its matrix overflows",
                source=model.source,
                remedy="train with alphas that are less far apart",
            )
    heads = _heads(name, model)
    if heads:
        b = b.reshape(heads, 2, len(b) // heads // 2, b.shape[1]).swapaxes(1, 2).reshape(b.shape)
    # llama.cpp takes rows out of an embedding's lora_a by token.
    return (np.ascontiguousarray(a.T) if pair.embedding else a), np.ascontiguousarray(b)


def _write(out: Path, adapter: PeftAdapter, model: Base, alpha: float, tensors: Mapping[str, Matrix]) -> None:
    from gguf import GGUFWriter, Keys

    def describe(writer: GGUFWriter) -> None:
        writer.add_type("adapter")
        writer.add_name(encodable(adapter.folder.resolve().name))
        if adapter.config.base:
            add_base(writer, adapter.config.base_name)
        writer.add_string(Keys.Adapter.TYPE, "lora")
        writer.add_float32(Keys.Adapter.LORA_ALPHA, alpha)
        add_record(writer, adapter.record)

    write_tensors(out, model.architecture.name, describe, tensors)
