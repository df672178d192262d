"""Tune a model on a data set's streams, and make a bundle of it (`rella tune stream`)."""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rella_cpp.bundles.manifest import Manifest
from rella_cpp.datasets.dataset import DataSet
from rella_cpp.datasets.options import PrepareOptions
from rella_cpp.datasets.prepare import prepare
from rella_cpp.domains.domain import Domain
from rella_cpp.errors import InputError
from rella_cpp.evaluation.calibrate import fit_calibration
from rella_cpp.evaluation.clicks import EvaluationSettings, evaluate
from rella_cpp.evaluation.reports.report import measured
from rella_cpp.evaluation.runs import Run
from rella_cpp.recommender.bundling import BundleSettings, save_bundle
from rella_cpp.recommender.rella import Rella
from rella_cpp.retrieval.samples import Histories
from rella_cpp.scoring.calibration import Calibration
from rella_cpp.storage.artifacts import digest, read_json, write_json
from rella_cpp.storage.cache import Cache
from rella_cpp.storage.progress import Progress, no_progress
from rella_cpp.training.trainer import check_trainer, train_adapter
from rella_cpp.tuning.rows import export_rows
from rella_cpp.tuning.sequences import SequenceSettings, StreamSequences
from rella_gguf import read_header
from rella_gguf.files import locked

_STEPS = ("before", "training", "valid", "after")


@dataclass(frozen=True, slots=True)
class StreamTraining:
    """How a model is tuned on streams.

    Attributes
    ----------
    minutes
        Of training; checks and evaluations come on top.
    tokens
        Train on so many tokens, in place of minutes.
    k
        Behaviors that prompts show: K to 2K - 1.
    rank
        Of the adapter.
    drop
        The share of rows without averages, profile, or fields that an item may lack; see `SequenceSettings`.
    users
        Of how many users' validation and test samples the calibration and the figures are.
    valid
        Validation samples that the best checkpoint is chosen on.

    """

    minutes: float = 30.0
    tokens: int | None = None
    k: int = 12
    rank: int = 8
    drop: float = 0.3
    users: int = 30
    valid: int = 1000

    def __post_init__(self) -> None:
        """Check what nothing else checks."""
        if not 0 < self.minutes < 1e6:
            raise InputError(f"minutes is {self.minutes:g}", remedy="give how long to train, such as 30")
        if self.tokens is not None and self.tokens < 1:
            raise InputError(f"{self.tokens} tokens are wanted", remedy="train on at least 1")
        if not 1 <= self.rank <= 256:
            raise InputError(f"rank is {self.rank}", remedy="give 1 to 256")
        self.evaluation("valid")
        _ = SequenceSettings(self.k, None, self.drop)

    def evaluation(self, split: str) -> EvaluationSettings:
        """Return how the tuned model is evaluated."""
        return EvaluationSettings(split, ks=(self.k,), retrieval="recent", layout="stream", limit_users=self.users)


def tune_stream(
    data: DataSet,
    domain: Domain,
    base: Path,
    out: Path,
    settings: StreamTraining,
    *,
    progress: Progress = no_progress,
) -> Manifest:
    """Write rows, train, calibrate, measure, and make a bundle at `out`; killed, the same call goes on.

    What is half done lies in a folder beside `out`, which goes when the bundle is there.

    Raises
    ------
    InputError
        Something does not fit, what training takes is not installed, or `out` is there.
    EngineError
        Training failed.

    """
    check_trainer()
    data.check_stream(domain)
    read_header(base)
    work = _work_folder(out)
    with locked(work):
        wanted = {"data": data.identity, "base": Cache.default().fingerprint(base, progress), **asdict(settings)}
        made = [work / name for name in ("before", "rows.jsonl", "adapter.gguf")]
        _claim(work / "wanted.json", wanted | {"domain": digest(asdict(domain))}, made)
        manifest = _tune(_Tuning(data, domain, base, work, settings, progress), out)
        shutil.rmtree(work)
    return manifest


def _tune(tuning: "_Tuning", out: Path) -> Manifest:
    """Take the steps that are not done yet: the first finds out whether the model can judge at all."""
    before = tuning.run("before", None)
    adapter = tuning.adapter()
    valid = tuning.run("valid", adapter)
    calibration = tuning.work / "calibration.json"
    blend = fit_calibration(valid, blend=True)
    (blend if blend.certain else fit_calibration(valid)).save(calibration)  # of few samples a blend is worth nothing
    after = tuning.run("after", adapter, Calibration.load(calibration))
    with tuning.opened(adapter) as rella:
        rella.use_calibration(calibration)
        card = {"trained on": tuning.trained_on, "measured": [measured(after, "after"), measured(before, "before")]}
        reading = tuning.settings.evaluation("test").selection(tuning.settings.k)
        settings = BundleSettings(selection=reading, calibration=calibration, card=card)
        return save_bundle(rella, out, settings)


def prepared_download(format: str, source: Path, out: Path, progress: Progress = no_progress) -> DataSet:
    """Prepare a data set as it is downloaded for the bundle that is made at `out`, or open what was prepared for that.

    With averages, where the format has times. It lies in the folder beside `out` that `tune_stream` removes. Raises as
    `prepare` does.
    """
    if format == "table":
        raise InputError("a table needs its columns named", remedy="prepare it first: rella data prepare table …")
    check_trainer()
    work = _work_folder(out)
    with locked(work):
        wanted = {"format": format, "source": str(source.resolve())}
        _claim(work / "source.json", wanted, [work / "data"])
        if (work / "data").exists():
            return DataSet.open(work / "data")
        options = PrepareOptions(averages=format != "bookcrossing", valid=0.1 if format == "bookcrossing" else 0.0)
        return prepare(format, source, work / "data", options=options, progress=progress)


def _work_folder(out: Path) -> Path:
    """Return the folder of what is half done."""
    return out.with_name(f".{out.name}.tuning")


def _claim(said: Path, wanted: Mapping[str, object], made: Sequence[Path]) -> None:
    """Say what is wanted in a folder for work; take up what is there for the very same.

    Raises
    ------
    InputError
        Something is made there already, for something else.

    """
    if said.is_file() and any(path.exists() for path in made) and read_json(said, "remove the folder") != wanted:
        remedy = "give its data, model and options, another --bundle, or remove it"
        raise InputError("holds what another tuning began", source=said.parent, remedy=remedy)
    said.parent.mkdir(parents=True, exist_ok=True)
    write_json(said, wanted)


class _Tuning:
    """The steps, each of which leaves its result in a folder."""

    def __init__(
        self, data: DataSet, domain: Domain, base: Path, work: Path, settings: StreamTraining, progress: Progress
    ) -> None:
        self._data, self._domain, self._base, self.work = data, domain, base, work
        self.settings, self._progress = settings, progress
        self._histories = Histories(data, None, domain, progress)

    def adapter(self) -> Path:
        """Return the trained adapter as a GGUF."""
        from rella_gguf import convert_adapter

        out = self.work / "adapter.gguf"
        if not out.is_file():
            s = self.settings
            length = ["--minutes", f"{s.minutes:g}"] if s.tokens is None else ["--tokens", str(s.tokens)]
            rank = ["--rank", str(s.rank), "--alpha", str(2 * s.rank)]
            rows, progress = self._rows(), self._step("training")
            progress("training", 0, s.tokens or 1000, "checking the untuned model")
            train_adapter(rows, self._base, self.work / "adapter", [*length, *rank], progress)
            convert_adapter(self.work / "adapter", out, base=self._base, force=True)
        return out

    def _rows(self) -> Path:
        rows = self.work / "rows.jsonl"
        if not rows.with_name("rows.manifest.json").is_file():
            settings = SequenceSettings(self.settings.k, None, self.settings.drop)
            sequences = StreamSequences(self._data, self._histories, self._domain, settings, None)
            valid = self.settings.valid
            export_rows(sequences, rows, form="text", valid=valid, force=True, progress=self._progress)
        return rows

    def run(self, name: str, adapter: Path | None, calibration: Calibration | None = None) -> Run:
        """Evaluate on validation or test samples."""
        settings = self.settings.evaluation("valid" if name == "valid" else "test")
        calibrations = [] if calibration is None else [calibration]
        with self.opened(adapter) as rella:
            (run,) = evaluate(
                self._histories,
                self.work / name,
                settings,
                judge=rella,
                calibrations=calibrations,
                progress=self._step(name),
            )
        return run

    def _step(self, name: str) -> Progress:
        """Say of progress in which step it is."""
        number = _STEPS.index(name) + 1

        def told(task: str, done: int, total: int, note: str = "") -> None:
            step = name if task == name else f"{name}, {task}"
            self._progress(f"{number}/{len(_STEPS)} {step}", done, total, note)

        return told

    @property
    def trained_on(self) -> str:
        """What the adapter was trained on, in words."""
        s = self.settings
        length = f"{s.minutes:g} minutes" if s.tokens is None else f"{s.tokens:,} tokens"
        return f"{self._data.name}, training split, {length}"

    def opened(self, adapter: Path | None) -> Rella:
        """Load the model."""
        lora = [] if adapter is None else [adapter]
        return Rella.from_gguf(self._base, domain=self._domain, lora=lora, layout="stream", progress=self._progress)
