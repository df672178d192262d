"""Rows for instruction tuning, in the forms that trainers read, and the manifest that ties them together.

ReiT (ReLLa §3.3): every sample twice, with its recent and with its retrieved behaviors, one after the other. LLM-TRSR
(2403.13325): every liked item, and an item never touched in its place. DELRec (2406.11156): one of some candidates.
Streams (DTI, 2503.01001): whole histories, of which each rating is an answer.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, NamedTuple, Protocol, Self, get_args

from rella_cpp.domains.domain import Domain
from rella_cpp.errors import ContextError, InputError
from rella_cpp.prompts.rendering import PromptText
from rella_cpp.prompts.soft_marker import SOFT
from rella_cpp.recommender.rella import Rella
from rella_cpp.storage.artifacts import write_json
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.storage.versions import library_versions
from rella_cpp.tuning.sequences import StreamSequences
from rella_gguf import shard_paths
from rella_gguf.files import check_output, new_file, part_of

logger = logging.getLogger("rella_cpp")

if TYPE_CHECKING:
    from rella_cpp.datasets.dataset import DataSet

RowForm = Literal["messages", "alpaca", "text"]
ROW_FORMS: tuple[str, ...] = get_args(RowForm)
STREAM_FORMS = ("text", "messages")
_FORMAT = 1


@dataclass(frozen=True, slots=True)
class TuningRows:
    """What was written.

    Attributes
    ----------
    train, valid, manifest
        The files; `valid` is None where the data has no validation split, or none was wanted.
    rows, valid_rows
        How many rows each has.
    same
        Samples whose two rows have the same prompt: of ReiT, their history is no longer than K.
    liked
        Share of the training rows with the positive answer; None where answers are no yes or no.

    """

    train: Path
    valid: Path | None
    manifest: Path
    rows: int
    valid_rows: int
    same: int
    liked: float | None


class RowFiles(NamedTuple):
    """The files of one set of rows: training rows, and beside them validation rows and the manifest."""

    train: Path
    valid: Path
    manifest: Path

    @classmethod
    def of(cls, train: Path) -> Self:
        """Name what stands beside `NAME.jsonl`: `NAME.valid.jsonl` and `NAME.manifest.json`."""
        return cls(train, *(train.with_name(f"{train.stem}.{end}") for end in ("valid.jsonl", "manifest.json")))


class RowExample(Protocol):
    """What rows are made of; `facts` are what they say besides."""

    @property
    def place(self) -> str:
        """Where it comes from, for messages, such as `sample 12`; the two examples of one sample say the same."""

    @property
    def label(self) -> bool | None:
        """Whether the answer is the positive one; None where it is no yes or no."""

    @property
    def text(self) -> object:
        """What is read."""

    @property
    def facts(self) -> Mapping[str, object]:
        """What its row says besides, as JSON."""


class TuningExample(RowExample, Protocol):
    """One prompt with its answer."""

    @property
    def answer(self) -> str:
        """What the model is to answer."""

    @property
    def text(self) -> PromptText:
        """The prompt."""


class TuningSource(Protocol):
    """Where rows of one answer come from: `Examples` for ReiT, `TrsrExamples` for LLM-TRSR, `DelrecExamples`."""

    data: "DataSet"
    domain: Domain

    @property
    def rows(self) -> int:
        """How many training examples there are."""

    @property
    def folders(self) -> Sequence[Path]:
        """The folders that are read."""

    def training(self) -> Iterator[TuningExample]:
        """Yield the training examples; those of one sample one after the other."""

    def validation(self, count: int) -> Iterator[TuningExample]:
        """Yield the examples of `count` validation samples, or of all if there are fewer."""

    def facts(self, valid: int) -> Mapping[str, object]:
        """Return what the examples come from besides data and domain, as JSON, for `valid` validation rows.

        What it says of the domain itself takes the place of name and fingerprint.
        """


RowSource = TuningSource | StreamSequences


def export_rows(
    examples: RowSource,
    out: str | Path,
    *,
    form: RowForm = "messages",
    valid: int = 256,
    judge: Rella | None = None,
    force: bool = False,
    progress: Progress = no_progress,
) -> TuningRows:
    """Write training rows, validation rows beside them (`train.valid.jsonl`) and a manifest (`train.manifest.json`).

    A row has `sample` (its place among the data set's samples), `label` and `retrieval` (ReiT) or `item` (LLM-TRSR), or
    `user`, `position`, `item` (the answer's) and `task` (DELRec). Besides it has what the form brings: `messages` (a
    chat), `alpaca` (`instruction`, `input`, `output`), or `text`: the text that the judging model reads, chat frame and
    answer included, also cut into `prompt` and `completion`. Rows of many answers: see `StreamSequences`.

    Parameters
    ----------
    examples
        The samples and how they are read: `Examples`, `TrsrExamples`, `DelrecExamples` or `StreamSequences`.
    out
        The training rows' file.
    valid
        How many samples of the validation split to write, at most; read as the tuned model will be asked.
    judge
        The model whose chat frame `text` takes; of streams the one that they were given.

    Raises
    ------
    InputError
        An argument does not fit, there is a file already, a record does not fit the domain, or the split is too small.
    ContextError
        A text is longer than the judge's context.

    """
    _check_request(form, valid, judge, examples)
    part_of(Path(out))  # refuses what is no name for a file
    files = RowFiles.of(Path(out))
    for path in files:
        check_output(path, read_files(examples, judge), force=force)
    training, validation = _Tally(examples.rows, progress), _Tally(valid, no_progress)
    write, source = _writer(examples, form, judge), examples.data.folder
    # Both files are written under other names before either appears: a failure leaves what was there.
    with new_file(files.valid) as valid_file:
        with new_file(files.train) as train_file:
            training.write(train_file, examples.training(), write, source)
            validation.write(valid_file, examples.validation(valid), write, source)
            files.manifest.unlink(missing_ok=True)  # from here on the rows beside it are others
    there = validation.rows > 0
    if not there:
        files.valid.unlink()
        _warn_of_none(valid, source)
    digests = {files.train.name: training.sha256} | ({files.valid.name: validation.sha256} if there else {})
    write_json(files.manifest, _manifest(examples, form, training.labeled, validation.rows, judge, digests))
    checked = files.valid if there else None
    liked = training.liked / training.rows if training.labeled else None
    return TuningRows(files.train, checked, files.manifest, training.rows, validation.rows, training.same, liked)


def _warn_of_none(valid: int, source: Path) -> None:
    """Say why there are no validation rows, where some were wanted."""
    if valid:
        said = "%s has no split valid, so there are no validation rows; prepare it with one (--valid 0.1)"
        logger.warning(said, source)


def _check_request(form: str, valid: int, judge: Rella | None, examples: RowSource) -> None:
    """Refuse a form that there is not, or that needs a model, and a negative number of validation samples."""
    streams = isinstance(examples, StreamSequences)
    forms = STREAM_FORMS if streams else ROW_FORMS
    if form not in forms:
        many = ", which has one answer a row; a stream has many" if form in ROW_FORMS else ""
        raise InputError(f"format is {form!r}{many}", remedy=f"one of {', '.join(forms)}")
    if form == "text" and judge is None and not streams:
        raise InputError("the format text is the text that a model reads", remedy="name the model: --model GGUF")
    if valid < 0:
        raise InputError(f"{valid} validation samples are wanted", remedy="give 0 or more")


def read_files(examples: RowSource, judge: Rella | None) -> list[Path]:
    """List the files that are read, which are never written over."""
    model = [] if judge is None else shard_paths(judge.engine.header.path)
    return [*(path for folder in examples.folders for path in folder.iterdir()), *model]


def _manifest(
    examples: RowSource, form: RowForm, labeled: bool, valid: int, judge: Rella | None, files: Mapping[str, str]
) -> dict[str, Any]:
    """Say what the rows come from; `judge` only where they hold a model's chat frame."""
    data, domain = examples.data, examples.domain
    framed = judge if form == "text" and not isinstance(examples, StreamSequences) else None
    facts = {
        "format": _FORMAT,
        "data": data.identity,
        "domain": {"name": domain.name, "fingerprint": domain.fingerprint},
        **examples.facts(valid),
        "form": form,
        "answers": list(domain.answers) if labeled else None,
    }
    if not isinstance(examples, StreamSequences):  # which say themselves what they took of a model
        facts["chat_format"] = None if framed is None else framed.prompts.frame.name
        facts["model"] = None if framed is None else framed.model.as_dict()
    return facts | {"files": dict(files), "versions": library_versions()}


Write = Callable[[Any], list[dict[str, Any]]]


def _writer(examples: RowSource, form: RowForm, judge: Rella | None) -> Write:
    """Return the function that turns an example of a source into what the form brings: one row, or several."""
    if isinstance(examples, StreamSequences):
        return examples.writer(form)
    write = _of_prompts(form, judge)
    return lambda example: [write(example)]


def _of_prompts(form: RowForm, judge: Rella | None) -> Callable[[TuningExample], dict[str, Any]]:
    """Return the function that turns a prompt with its answer into a row."""

    def messages(example: TuningExample) -> dict[str, Any]:
        said = [("system", example.text.system), ("user", turn(example.text)), ("assistant", example.answer)]
        return {"messages": [{"role": role, "content": content} for role, content in said if content]}

    def alpaca(example: TuningExample) -> dict[str, Any]:
        return {"instruction": example.text.system, "input": turn(example.text), "output": example.answer}

    def text(example: TuningExample) -> dict[str, Any]:
        assert judge is not None
        prompts, choice = judge.prompts, example.label is None
        question = prompts.choice(example.text, [example.answer]) if choice else prompts.question(example.text)
        if len(question) > judge.engine.n_ctx:
            raise ContextError(
                f"a prompt of {len(question)} tokens does not fit the context of {judge.engine.n_ctx}",
                remedy="raise --ctx, or show fewer behaviors (-k)",
            )
        completion = prompts.lead + example.answer
        return {"text": question.text + completion, "prompt": question.text, "completion": completion}

    return {"messages": messages, "alpaca": alpaca, "text": text}[form]


def turn(text: PromptText) -> str:
    """Return the user's turn of a prompt, as one text; no trainer knows the marker of a soft prompt."""
    return (text.profile + text.history + text.target).replace(SOFT, "")


class _Tally:
    """Writes rows and counts them."""

    def __init__(self, total: int, progress: Progress) -> None:
        self._total, self._progress = total, progress
        self._digest = hashlib.sha256()
        self.rows = self.liked = self.same = 0
        self.labeled = True

    @property
    def sha256(self) -> str:
        """SHA-256 of what was written."""
        return self._digest.hexdigest()

    def write(self, file: BinaryIO, examples: Iterable[RowExample], write: Write, source: Path) -> None:
        """Write examples; `source` is where they come from, for messages."""
        before: RowExample | None = None
        for example in examples:
            try:
                rows = write(example)
            except ContextError as error:
                raise error.located(source, example.place) from None
            for row in rows:
                self._write(file, example, row)
            if before is not None and before.place == example.place:
                self.same += before.text == example.text
            before = example

    def _write(self, file: BinaryIO, example: RowExample, row: Mapping[str, Any]) -> None:
        line = json.dumps({**row, **example.facts}, ensure_ascii=False).encode("utf-8", errors="surrogatepass") + b"\n"
        file.write(line)
        self._digest.update(line)
        self.rows += 1
        self.liked += bool(example.label)
        self.labeled &= example.label is not None
        self._progress("writing rows", self.rows, self._total)
