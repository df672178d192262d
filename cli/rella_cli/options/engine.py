"""How llama.cpp runs a model."""

from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Any, Self

import typer

from rella_cli.options.groups import group

if TYPE_CHECKING:
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import EngineSettings

MODEL = "Model"
"""The panel of --help with everything about the model."""
RUNNING = "Running the model"
"""The panel of --help with everything about how llama.cpp runs it."""


def threads_option(text: str, panel: str | None = None) -> Any:
    """Declare --threads; `text` says how many there are else."""
    return typer.Option("--threads", help=text, rich_help_panel=panel)


Ctx = Annotated[
    int | None, typer.Option("--ctx", help="Context in tokens; else min(the model's, 4096).", rich_help_panel=RUNNING)
]
Threads = Annotated[int | None, threads_option("Threads; else the physical cores.", RUNNING)]
GpuLayers = Annotated[
    int,
    typer.Option("--gpu-layers", help="Layers on a GPU, if the build has one; -1: all.", rich_help_panel=RUNNING),
]
NoTrial = Annotated[
    bool,
    typer.Option(
        "--no-trial",
        help="Skip the one-time trial of a new model in a separate process: if llama.cpp crashes, rella does, too.",
        rich_help_panel=RUNNING,
    ),
]
Verbose = Annotated[
    bool | None,
    typer.Option(
        "--verbose/--quiet",
        help="Show llama.cpp's log; or do not say once a minute, where there is no terminal, how far long work is.",
        rich_help_panel=RUNNING,
        show_default=False,
    ),
]
Repeats = Annotated[int, typer.Option("--repeats", help="How often each is timed.", show_default=True)]


@group
class EngineOptions:
    """How llama.cpp runs the model: sizes, processors, precision, and what is seen of it."""

    ctx: Ctx = None
    threads: Threads = None
    gpu_layers: GpuLayers = -1
    flash_attn: Annotated[
        str, typer.Option("--flash-attn", help="Flash attention: auto, on or off.", rich_help_panel=RUNNING)
    ] = "auto"
    kv_type: Annotated[
        str, typer.Option("--kv-type", help="Key-value cache: f32, f16, bf16, q8_0 or q4_0.", rich_help_panel=RUNNING)
    ] = "f16"
    exact: Annotated[
        bool,
        typer.Option(
            "--exact/--no-exact",
            help="An item gets the same bits alone or in company (not with --order shared); takes longer.",
            rich_help_panel=RUNNING,
        ),
    ] = False
    no_trial: NoTrial = False
    verbose: Verbose = None

    def progress(self) -> "ProgressBar":
        """Make what says how far long work is."""
        from rella_cli.views.progress import ProgressBar

        return ProgressBar(quiet=self.verbose is False)

    def exactly(self) -> Self:
        """Return the same with `exact`: reasons must not be differences of rounding."""
        return replace(self, exact=True)

    def settings(self) -> "EngineSettings":
        """Make the engine's settings, which checks them: before any file is read."""
        from rella_cpp import EngineSettings

        return EngineSettings(
            self.ctx,
            self.threads,
            self.gpu_layers,
            self.flash_attn,  # type: ignore[arg-type]  # it checks them
            self.kv_type,  # type: ignore[arg-type]
            self.exact,
        )
