"""Read a PEFT folder with numpy alone: its config, its pairs of matrices, and how it was tuned."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from rella_gguf.errors import InputError
from rella_gguf.lora.peft_config import PeftConfig, read_config
from rella_gguf.peft_files import CONFIG, WEIGHTS, Matrix, check_folder, read_record, read_tensors, unknown_note

_SIDE = re.compile(
    r"(?:base_model\.model\.)?(?P<module>.+)\."
    r"(?:lora_(?P<side>[AB])(?:\.(?P<set>\w+))?\.weight|lora_embedding_(?P<embedded>[AB])(?:\.(?P<set_>\w+))?)"
)
# PEFT saves a copy of the base's embeddings beside their adapter.
_COPY = re.compile(r"(?:base_model\.model\.)?(?P<module>.+)\.base_layer\.weight")
_MERGE = "merge it into the base in peft (merge_and_unload), and convert that model with llama.cpp"


@dataclass(frozen=True, slots=True)
class Foreign:
    """A tensor that is no side of a pair, by its name's end: what it means that it is there."""

    ending: str
    finding: str


FOREIGN = (
    Foreign("lora_magnitude_vector", "is a magnitude of DoRA, which a GGUF adapter cannot hold"),
    Foreign("lora_magnitude_vector.weight", "is a magnitude of DoRA, which a GGUF adapter cannot hold"),
    Foreign("trainable_tokens_delta", "holds single tokens' embeddings, which a GGUF adapter cannot"),
    Foreign(".bias", "is a trained bias, which a GGUF adapter cannot hold"),
    Foreign(
        ".weight",
        "is a whole module's weights (modules_to_save, or a resized vocabulary), which a GGUF adapter cannot hold",
    ),
    Foreign("", "is neither lora_A nor lora_B"),
)


@dataclass(frozen=True, slots=True)
class PeftPair:
    """The two matrices that adapt one module: lora_A (rank, inputs) and lora_B (outputs, rank).

    An embedding's are (rank, tokens) and (width, rank). `alpha` is what makes alpha / rank the scale of B·A.
    """

    a: Matrix
    b: Matrix
    alpha: float
    embedding: bool

    @property
    def rank(self) -> int:
        """Rows of lora_A."""
        return int(self.a.shape[0])


@dataclass(frozen=True, slots=True)
class PeftAdapter:
    """A LoRA adapter as PEFT saves it.

    Attributes
    ----------
    folder, config
        Where it lies; its adapter_config.json.
    pairs
        By the module that each adapts, such as `model.layers.0.self_attn.q_proj`.
    record
        What its trainer wrote of how it was tuned (rella.json), if anything.
    notes
        What was left aside, as sentences.

    """

    folder: Path
    config: PeftConfig
    pairs: Mapping[str, PeftPair]
    record: Mapping[str, object] | None
    notes: tuple[str, ...]

    @property
    def targets(self) -> tuple[str, ...]:
        """The kinds of modules that are adapted, such as `q_proj`."""
        return tuple(sorted({module.rpartition(".")[2] for module in self.pairs}))


def read_peft(folder: str | Path) -> PeftAdapter:
    """Read and check the folder that PEFT's save_pretrained wrote.

    Raises
    ------
    InputError
        A file is missing, damaged or a pickle; the adapter is no plain LoRA; its matrices are no pairs.

    """
    folder = Path(folder)
    check_folder(folder)
    config = read_config(folder / CONFIG)
    path = folder / WEIGHTS
    tensors = read_tensors(path)
    pairs, copies = _pairs(path, tensors, config)
    return PeftAdapter(folder, config, pairs, read_record(folder), tuple(_notes(config, pairs, copies)))


def _pairs(
    path: Path, tensors: Mapping[str, Matrix], config: PeftConfig
) -> tuple[dict[str, PeftPair], dict[str, Matrix]]:
    """Put the sides together; give the copies of the base's weights apart."""
    sides: dict[tuple[str, bool], dict[str, Matrix]] = {}
    copies: dict[str, Matrix] = {}
    sets: set[str | None] = set()
    for name, tensor in tensors.items():
        found, copy = _SIDE.fullmatch(name), _COPY.fullmatch(name)
        if found is not None:
            sets.add(found["set"] or found["set_"])
            sides.setdefault((found["module"], found["side"] is None), {})[found["side"] or found["embedded"]] = tensor
        elif copy is not None:
            copies[copy["module"]] = tensor
        else:
            finding = next(foreign.finding for foreign in FOREIGN if name.endswith(foreign.ending))
            raise InputError(finding, source=path, place=name, remedy=_MERGE)
    if len(sets) > 1:
        names = ", ".join(sorted(name or "(no name)" for name in sets))
        raise InputError(f"holds several adapters ({names})", source=path, remedy="save them one by one")
    if not sides:
        raise InputError(
            "adapts nothing: it holds no pair lora_A, lora_B", source=path, remedy="save the adapter again"
        )
    for module in copies:
        if (module, True) not in sides and (module, False) not in sides:
            raise InputError(
                "is a whole module's weights, with no adapter beside it", source=path, place=module, remedy=_MERGE
            )
    pairs = {module: _pair(path, module, embedding, both, config) for (module, embedding), both in sides.items()}
    return pairs, copies


def _pair(path: Path, module: str, embedding: bool, both: Mapping[str, Matrix], config: PeftConfig) -> PeftPair:
    kind = "lora_embedding_" if embedding else "lora_"
    if set(both) != {"A", "B"}:
        (there,), missing = both, "B" if "A" in both else "A"
        raise InputError(
            f"has a {kind}{there} and no {kind}{missing}", source=path, place=module, remedy="save the adapter again"
        )
    a, b = both["A"], both["B"]
    shapes = f"{kind}A is {_size(a)} and {kind}B {_size(b)}"
    if a.ndim != 2 or b.ndim != 2 or a.shape[0] != b.shape[1] or 0 in (*a.shape, *b.shape):
        raise InputError(
            f"{shapes}, which are no pair of one rank", source=path, place=module, remedy="save the adapter again"
        )
    if a.shape[0] != config.rank_of(module):
        raise InputError(
            f"{shapes}: the rank {a.shape[0]}, where {CONFIG} says {config.rank_of(module)}",
            source=path,
            place=module,
            remedy="bring the config and the weights of one adapter together",
        )
    return PeftPair(a, b, config.alpha_of(module), embedding)


def _size(matrix: Matrix) -> str:
    return " × ".join(map(str, matrix.shape)) or "a number"


def _notes(config: PeftConfig, pairs: Mapping[str, PeftPair], copies: Mapping[str, Matrix]) -> Iterator[str]:
    """Say what the config and the file disagree on, and what was left aside."""
    yield from unknown_note(config.unknown)
    if not isinstance(config.targets, str):
        targets = config.targets
        idle = [target for target in targets if not any(config.is_target(module, target) for module in pairs)]
        if idle:
            yield f"target_modules names {', '.join(idle)}, and the file adapts none of that"
        more = [module for module in pairs if not any(config.is_target(module, target) for target in targets)]
        if more:
            yield f"the file adapts {more[0]}, which target_modules does not name: PEFT would leave it aside"
    for module in copies:
        yield f"the copy of the base's {module} in the file was left out: the base has its own"
