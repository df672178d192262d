"""The model that embeds items."""

from typing import TYPE_CHECKING, Annotated

from rella_cli.options.engine import Ctx, EngineOptions, GpuLayers, NoTrial, Threads, Verbose
from rella_cli.options.groups import group
from rella_cli.options.model import ModelOptions, NoCache, model_option

if TYPE_CHECKING:
    from rella_cli.views.progress import ProgressBar
    from rella_cpp import Domain, Rella


@group
class EncoderOptions:
    """The model that embeds items and texts for an index."""

    embed_model: Annotated[
        str | None,
        model_option("The model that embeds. Else RELLA_MODEL, else the packaged SmolLM2-135M.", "--embed-model"),
    ] = None
    ctx: Ctx = None
    threads: Threads = None
    gpu_layers: GpuLayers = -1
    no_trial: NoTrial = False
    no_cache: NoCache = False
    verbose: Verbose = None

    def check(self) -> None:
        """Check the options, before any file is read."""
        self._engine().settings()

    def open(self, domain: "Domain") -> "Rella":
        """Load the model."""
        return ModelOptions(self.embed_model, no_cache=self.no_cache).open(domain, self._engine())

    def progress(self) -> "ProgressBar":
        """Make what says how far long work is."""
        return self._engine().progress()

    def _engine(self) -> EngineOptions:
        return EngineOptions(self.ctx, self.threads, self.gpu_layers, no_trial=self.no_trial, verbose=self.verbose)
