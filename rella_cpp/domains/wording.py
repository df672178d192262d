"""The words of a domain beside its fields: templates of its own, and what summaries are asked for by."""

from collections.abc import Iterator
from dataclasses import dataclass, fields

from rella_cpp.domains.templates.environments import TemplateFailure
from rella_cpp.domains.templates.jinja import check, mentions
from rella_cpp.domains.values import describe
from rella_cpp.errors import InputError, refuse


@dataclass(frozen=True, slots=True)
class Templates:
    """A domain's own Jinja templates of the prompt's parts; an empty one means the built-in wording.

    `lead` is what stands between the prompt and the answer; None means what the chat frame says.
    """

    profile: str = ""
    history: str = ""
    target: str = ""
    item: str = ""
    lead: str | None = None
    preference: str = ""
    block: str = ""
    update: str = ""
    merge: str = ""
    choice: str = ""
    simulate: str = ""
    between: str = ""

    def __post_init__(self) -> None:
        """Refuse a lead that is no text."""
        if self.lead is not None and not isinstance(self.lead, str):
            raise InputError(f"lead is {describe(self.lead)}", remedy="give text")

    @property
    def marked(self) -> bool:
        """Whether one says where a soft prompt stands, `{{ soft }}`."""
        sources = (getattr(self, entry.name) for entry in fields(self) if entry.name not in ("lead", "item"))
        return any(mentions(source, "soft") for source in sources)

    def check(self) -> None:
        """Refuse templates that cannot be compiled, which takes Jinja and its time.

        Raises
        ------
        InputError
            One cannot.
        FaultsError
            Several cannot.

        """
        refuse(self._failures())

    def _failures(self) -> Iterator[InputError]:
        for name in (entry.name for entry in fields(self) if entry.name != "lead"):
            try:
                check(getattr(self, name))
            except TemplateFailure as error:
                yield InputError(f"the template {name} fails: {error}", remedy="mend it")


@dataclass(frozen=True, slots=True)
class SummaryWords:
    """What a model is told that writes down what a person prefers (LLM-TRSR, arXiv 2403.13325).

    `system` is its system line. `block` asks for a summary of some behaviors, `update` for a new one from an earlier
    one and the behaviors that came next, `merge` for one from several.
    """

    system: str
    block: str
    update: str
    merge: str

    def __post_init__(self) -> None:
        """Refuse words that ask for nothing."""
        empty = (name for name in ("block", "update", "merge") if not getattr(self, name).strip())
        refuse(InputError(f"{name} is empty", remedy="say what to write") for name in empty)
