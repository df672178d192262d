"""The model that makes tokens of texts."""

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING

from rella_cli.options.engine import Ctx, EngineOptions, NoTrial
from rella_cli.options.groups import group
from rella_cli.options.model import ChatFormat, Model, ModelOptions, NoCache

if TYPE_CHECKING:
    from rella_cpp import Domain, Layout, Rella


@group
class TokenizerOptions:
    """The model whose tokens and chat format rows for a trainer have: it computes little, so no GPU is asked for."""

    model: Model = None
    chat_format: ChatFormat = None
    ctx: Ctx = None
    no_trial: NoTrial = False
    no_cache: NoCache = False

    def check(self) -> None:
        """Check the options, before any file is read."""
        self._engine().settings()

    def open(self, domain: "Domain", layout: "Layout | None" = None) -> "Rella":
        """Load the model."""
        model = ModelOptions(self.model, chat_format=self.chat_format, no_cache=self.no_cache)
        return model.open(domain, self._engine(), layout=layout)

    def opened_for_streams(
        self, form: str, tokens: int | None, domain: "Domain"
    ) -> "AbstractContextManager[Rella | None]":
        """Load the model if its tokens are counted, or its chat frame is written; else None."""
        framed = form == "text" and self.chat_format not in (None, "none")
        return self.open(domain, "stream") if framed or tokens is not None else nullcontext()

    def opened_for(self, form: str, domain: "Domain") -> "AbstractContextManager[Rella | None]":
        """Load the model if rows of this form are whole texts, which its chat format words; else None."""
        return self.open(domain) if form == "text" else nullcontext()

    def _engine(self) -> EngineOptions:
        return EngineOptions(self.ctx, gpu_layers=0, no_trial=self.no_trial)
