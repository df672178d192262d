"""How a GGUF file looks from inside: a model, an adapter, a soft prompt."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.table import Table

from rella_cli.views.terminal import console, line, lines, print_json

if TYPE_CHECKING:
    from rella_cpp.engine.trial.verdicts import Verdict
    from rella_gguf import Inspection

    Trials = Sequence[tuple[Mapping[str, object], Verdict]]

_LONGEST_FACT = 200
_RECORDED = ("data", "domain", "samples", "chat_format", "base")


def show_inspection(found: "Inspection", trials: "Trials", *, tensors: bool, as_json: bool) -> None:
    """Print what a file holds, and what trials on this machine found of it; with `tensors` each of them."""
    if as_json:
        told = [{"settings": settings, **verdict.as_dict()} for settings, verdict in trials]
        print_json({**asdict(found), "trials": told})
        return
    out = console()
    facts = Table(box=None, show_header=False, pad_edge=False)
    for name, value in [*_facts(found), *_trial_facts(trials)]:
        facts.add_row(line(name), line(value))
    out.print(facts)
    table = Table(box=None, pad_edge=False, title="\nquantisation", title_justify="left")
    for name in ("type", "tensors", "parameters", "MB"):
        table.add_column(name, justify="left" if name == "type" else "right")
    for group in found.quantisation:
        table.add_row(group.type, str(group.tensors), f"{group.parameters:,}", f"{group.bytes / 1e6:,.1f}")
    out.print(table)
    if found.chat_template:
        out.print(lines(f"\nchat template\n{found.chat_template}"), soft_wrap=True)
    for name, shape, kind in found.tensors if tensors else ():
        out.print(line(f"{kind:8} {' × '.join(map(str, shape)):>20}  {name}"), soft_wrap=True)


def _facts(found: "Inspection") -> list[tuple[str, str]]:
    facts = [
        ("kind", found.kind),
        ("name", found.name or "-"),
        ("architecture", found.architecture or "-"),
        ("parameters", f"{found.parameters:,}"),
        ("size", f"{found.file_bytes / 1e6:,.1f} MB in {found.files} file{'s' if found.files > 1 else ''}"),
    ]
    for name, value in (
        ("context", found.context_length),
        ("embedding", found.embedding_length),
        ("layers", found.layers),
        ("heads", found.heads),
        ("key-value heads", found.heads_kv),
    ):
        if value is not None:
            facts.append((name, f"{value:,}"))
    words = found.tokenizer
    if words is not None:
        name = f"{words.model} {words.pre}".strip()
        facts.append(("tokenizer", f"{name}, {words.vocabulary:,} tokens, BOS {words.bos}, EOS {words.eos}"))
    if found.kind == "model":
        facts.append(("chat template", "below" if found.chat_template else "none"))
    return facts + _origin(found) + sorted(found.adapter.items()) + _lora_facts(found) + _soft_facts(found)


def _trial_facts(trials: "Trials") -> list[tuple[str, str]]:
    """Say what was found with which settings, those named that are not the usual ones."""
    if not trials:
        return []
    from rella_cpp import EngineSettings
    from rella_cpp.engine.trial.trial import describe

    usual = asdict(EngineSettings())
    facts = []
    for settings, verdict in trials:
        other = ", ".join(f"{name} {value}" for name, value in settings.items() if value != usual.get(name))
        facts.append(("tried here", f"{f'with {other}: ' if other else ''}{describe(verdict)}"))
    return facts


def _lora_facts(found: "Inspection") -> list[tuple[str, str]]:
    lora = found.lora
    if lora is None:
        return []
    facts = [
        ("adapts", f"{lora.pairs} matrices: {', '.join(lora.targets)}"),
        ("rank", ", ".join(map(str, lora.ranks))),
        ("tuned on", lora.base or "-"),
    ]
    return facts + record_facts(lora.record)


def _soft_facts(found: "Inspection") -> list[tuple[str, str]]:
    soft = found.soft
    if soft is None:
        return []
    digest = f" ({soft.base_sha256[:12]})" if soft.base_sha256 else ""
    facts = [
        ("soft prompt", soft_size(soft.tokens, soft.width)),
        ("stands at", soft.at or "-"),
        ("trained for", f"{soft.base or '-'}{digest}"),
    ]
    return facts + record_facts(soft.record)


def soft_size(tokens: int | None, width: int | None) -> str:
    """Say how large a soft prompt is."""
    return f"{tokens} tokens, each of a width of {width}"


def record_facts(record: Mapping[str, object] | None) -> list[tuple[str, str]]:
    """Show how an adapter or a soft prompt was tuned: a line a fact."""
    from rella_cpp.storage.artifacts import brief

    if record is None:
        return [("record", "none: it does not say how it was tuned")]
    known = [name for name in _RECORDED if record.get(name)] or list(record)
    return [(f"record: {name}", brief(record[name])[:_LONGEST_FACT]) for name in known]


def _origin(found: "Inspection") -> list[tuple[str, str]]:
    """Show what the file was made from."""
    facts = [("quantised from", ", ".join(each[:12] for each in found.quantized_from))] if found.quantized_from else []
    try:
        merges = json.loads(found.merged or "[]")
        for merge in merges:
            adapters = ", ".join(f"{each['file']} × {each['scale']:g}" for each in merge["adapters"])
            facts.append(("merged", f"{adapters} into {merge['base']['file']} ({merge['base']['sha256'][:12]})"))
    except (ValueError, TypeError, KeyError):
        facts.append(("merged", str(found.merged)[:_LONGEST_FACT]))
    return facts
