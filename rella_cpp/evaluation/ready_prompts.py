"""Ready prompts, as other projects write them: `[{"input", "output"}]` or with an `instruction`."""

import re
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rella_cpp.domains.domain import Domain
from rella_cpp.domains.inputs import read_values
from rella_cpp.domains.values import describe
from rella_cpp.errors import ContextError, InputError
from rella_cpp.evaluation.clicks import EvaluationSettings
from rella_cpp.evaluation.runs import FORMAT, Run, RunWriter
from rella_cpp.metrics.probabilities import RunningAUC
from rella_cpp.prompts.question import Question
from rella_cpp.scoring.answers import Answer
from rella_cpp.storage.artifacts import digest
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.storage.versions import library_versions


@dataclass(frozen=True, slots=True)
class ReadyPrompt:
    """A prompt's text, whether the answer is positive, and where it stood in its file."""

    text: str
    label: bool
    place: str


@dataclass(frozen=True, slots=True)
class ReadyPrompts:
    """A file of ready prompts; `fingerprint` is the SHA-256 of texts and answers."""

    path: Path
    fingerprint: str
    prompts: tuple[ReadyPrompt, ...]


class TextModel(Protocol):
    """A model that answers a text; `Rella` is one."""

    def question(self, text: str) -> Question:
        """Frame a text as a user's turn."""

    def answers(self, questions: Sequence[Question]) -> list[Answer]:
        """Read questions."""

    def settings(self) -> Mapping[str, object]:
        """Return all that its answers depend on besides the text."""


def read_prompts(path: str | Path, domain: Domain) -> ReadyPrompts:
    """Read ready prompts: a JSON list or JSON Lines. The instruction stands before the input, a line apart.

    Raises
    ------
    InputError
        The file cannot be read, or an entry lacks its input, or its output is neither answer of the domain.

    """
    path = Path(path)
    source, entries = read_values(path)
    prompts = []
    for place, value in entries:
        if not isinstance(value, Mapping):
            raise InputError(f"is {describe(value)}", source=source, place=place, remedy='give {"input", "output"}')
        parts = [value.get("instruction") or "", value.get("input")]
        for name, part in zip(("instruction", "input"), parts, strict=True):
            if not isinstance(part, str):
                raise InputError(f"{name} is {describe(part)}", source=source, place=place, remedy="give text")
        text = "\n".join(part for part in parts if part)
        prompts.append(ReadyPrompt(text, _label(value.get("output"), domain, source, place), place))
    return ReadyPrompts(path, digest([[p.text, p.label] for p in prompts]), tuple(prompts))


def evaluate_prompts(
    ready: ReadyPrompts,
    out: str | Path,
    settings: EvaluationSettings,
    *,
    judge: TextModel,
    force: bool = False,
    progress: Progress = no_progress,
) -> Run:
    """Evaluate a model on ready prompts; of the settings only `limit` and `seed` count. See `evaluate`.

    Raises
    ------
    InputError
        `out` holds another run, or a prompt does not fit the context: found before anything is decoded.

    """
    count = len(ready.prompts)
    chosen = np.arange(count)
    if settings.limit is not None and settings.limit < count:
        chosen = np.sort(np.random.default_rng(settings.seed).permutation(count)[: settings.limit])
    questions = {}
    for place in chosen.tolist():
        try:
            questions[place] = judge.question(ready.prompts[place].text)
        except ContextError as error:
            raise error.located(ready.path, ready.prompts[place].place) from None
    facts = {
        "format": FORMAT,
        "prompts": {"name": ready.path.name, "fingerprint": ready.fingerprint},
        "samples": {"limit": settings.limit, "seed": settings.seed, "count": len(chosen)},
        "judge": dict(judge.settings()),
        "versions": library_versions(),
    }
    seen = RunningAUC()
    with closing(RunWriter(Path(out), facts, chosen.tolist(), force=force)) as writer:
        for part in writer.left:
            places = chosen[part.start : part.stop].tolist()
            group = [questions[place] for place in places]
            answers = zip(places, group, judge.answers(group), strict=True)
            lines = [_line(place, ready.prompts[place], question, answer) for place, question, answer in answers]
            for line in lines:
                seen.add(line["label"], line.get("head", line["probability"]))
            writer.write(lines)
            progress("evaluating", part.stop, len(chosen), seen.text)
        return writer.finish()


def _line(place: int, prompt: ReadyPrompt, question: Question, answer: Answer) -> dict[str, Any]:
    return {
        "sample": place,
        "label": int(prompt.label),
        "probability": answer.probability,
        "yes_logit": answer.yes_logit,
        "no_logit": answer.no_logit,
        "answer_mass": answer.answer_mass,
        "prompt_tokens": len(question),
        **({} if answer.head_logit is None else {"head": answer.head, "head_logit": answer.head_logit}),
    }


def _label(output: object, domain: Domain, source: str, place: str) -> bool:
    """Read an answer: the domain's positive or negative one, its case and what follows it aside."""
    text = output.strip().lower() if isinstance(output, str) else ""
    yes, no = (bool(re.match(rf"{re.escape(answer.strip().lower())}(?!\w)", text)) for answer in domain.answers)
    if yes == no:
        raise InputError(
            f"output is {describe(output)}", source=source, place=place, remedy=f"give {' or '.join(domain.answers)}"
        )
    return yes
