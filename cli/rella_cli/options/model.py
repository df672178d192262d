"""Which model reads, and what is applied to it: one place opens it for every command."""

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rella_cli.options.bundle import bundle_in_use, bundles_part
from rella_cli.options.engine import MODEL, RUNNING, EngineOptions
from rella_cli.options.groups import group

if TYPE_CHECKING:
    from rella_cpp import Cache, Domain, ItemIndex, Layout, Rella

_PATIENCE = 20.0
"""Seconds after which a trial is mentioned where there is no terminal to show a bar on."""
_FILE = (
    "Model file, or hf:OWNER/REPO[:QUANT] once pulled. Else RELLA_MODEL, else the packaged SmolLM2-135M; score, rank "
    "and recommend judge films with the bundle movies-135m."
)


def model_option(text: str, *first: str, panel: str | None = None) -> Any:
    """Declare --model; `first` are other names of it."""
    return typer.Option(*first, "--model", "-m", metavar="GGUF", help=text, rich_help_panel=panel)


def calibration_option(text: str) -> Any:
    """Declare --calibration, one or several."""
    return typer.Option("--calibration", metavar="JSON", help=text, rich_help_panel=MODEL)


Model = Annotated[str | None, model_option(_FILE, panel=MODEL)]
ModelArgument = Annotated[str | None, typer.Argument(metavar="[GGUF]", help=_FILE, show_default=False)]
CalibrationFile = Annotated[str | None, calibration_option("Calibrate probabilities (rella calibrate).")]
ChatFormat = Annotated[
    str | None,
    typer.Option(
        "--chat-format",
        metavar="NAME",
        help="vicuna, chatml, llama-2, zephyr or none; else the model's own chat template, for streams none.",
        rich_help_panel=MODEL,
    ),
]
NoCache = Annotated[
    bool,
    typer.Option("--no-cache", help="Neither read nor write the cache (vectors, summaries).", rich_help_panel=RUNNING),
]
AllowMismatch = Annotated[
    bool,
    typer.Option(
        "--allow-mismatch",
        help="Use an index, an adapter, a soft prompt, a head or a calibration made for something else.",
        rich_help_panel=MODEL,
    ),
]


@group
class ModelOptions:
    """The model that judges, what it was tuned with, and whether what it computes is remembered."""

    model: Model = None
    lora: Annotated[
        list[str] | None,
        typer.Option(
            "--lora",
            metavar="A.gguf|DIR[=SCALE]",
            help="LoRA adapter: a GGUF, or a PEFT folder; may be repeated.",
            rich_help_panel=MODEL,
        ),
    ] = None
    soft: Annotated[
        str | None,
        typer.Option(
            "--soft",
            metavar="S.gguf|DIR",
            help="Soft prompt in each question: a GGUF (rella soft convert), or a PEFT folder.",
            rich_help_panel=MODEL,
        ),
    ] = None
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            metavar="DIR",
            help="Judge by a head on the hidden states (rella tune head).",
            rich_help_panel=MODEL,
        ),
    ] = None
    calibration: CalibrationFile = None
    chat_format: ChatFormat = None
    no_cache: NoCache = False
    allow_mismatch: AllowMismatch = False

    def open(
        self,
        domain: "Domain",
        engine: EngineOptions,
        *,
        layout: "Layout | None" = None,
        index: "ItemIndex | str | None" = None,
        contrast: bool = False,
    ) -> "Rella":
        """Find the model, try it if it is new here, load it, and apply all that goes with it.

        Parameters
        ----------
        domain
            Words the prompts.
        engine
            How it is loaded.
        layout
            How histories are laid out; None: as the adapters were tuned, else a question.
        index
            The index that items' vectors are taken from, or its folder.
        contrast
            Subtract the gap without history.

        """
        from rella_cli.log import listen
        from rella_cli.views.progress import ProgressBar
        from rella_cpp import Rella, find_model
        from rella_cpp.recommender.opening import use_bundle

        listen(bool(engine.verbose))
        adapters = self.adapters()
        path = find_model(self.model)
        with ProgressBar(patience=_PATIENCE) as bar:
            rella = Rella.from_gguf(
                path,
                domain=domain,
                settings=engine.settings(),
                layout=layout,
                chat_format=self.chat_format,
                cache=self._cache(),
                trial=not engine.no_trial,
                progress=bar,
            )
            try:
                use_bundle(bundle_in_use(), rella.reader, rella.prompts)
                self._apply(rella, adapters)
                rella.contrast = contrast
                if index is not None:
                    rella.use_index(index, allow_mismatch=self.allow_mismatch)
                if self.calibration is not None:
                    optional = self.calibration == bundles_part("calibration")
                    rella.use_calibration(self.calibration, allow_mismatch=self.allow_mismatch, optional=optional)
            except BaseException:
                rella.close()
                raise
        gc.set_threshold(700, 10, 10)  # Python's own: main set it high for the start, now garbage would pile up
        return rella

    def path(self) -> Path | None:
        """Return the model's file; None where there is none: opening it says so."""
        from rella_cpp import InputError, find_model

        try:
            return find_model(self.model)
        except InputError:
            return None

    def adapters(self) -> list[tuple[Path, float]]:
        """Return the adapters that are named, with their scales."""
        return [parse_adapter(text) for text in self.lora or []]

    def _apply(self, rella: "Rella", adapters: list[tuple[Path, float]]) -> None:
        """Apply what the model was tuned with."""
        if self.soft is not None:
            rella.use_soft(self.soft, allow_mismatch=self.allow_mismatch)
        rella.use_adapters(adapters, allow_mismatch=self.allow_mismatch)
        if self.head is not None:
            rella.use_head(self.head, allow_mismatch=self.allow_mismatch)

    def _cache(self) -> "Cache":
        from rella_cpp import Cache

        return Cache(None) if self.no_cache else Cache.default()


def parse_adapter(text: str) -> tuple[Path, float]:
    """Read `A.gguf` or `A.gguf=SCALE`."""
    from rella_cpp import InputError

    name, equals, scale = text.rpartition("=")
    if not equals or os.path.exists(text):
        return Path(text), 1.0
    try:
        return Path(name), float(scale)
    except ValueError:
        raise InputError(f"the scale is {scale!r}", source=text, remedy="give a number, as in A.gguf=0.5") from None
