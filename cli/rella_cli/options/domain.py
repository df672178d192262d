"""What the items are."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from rella_cpp import Domain


def domain_option(text: str, panel: str | None = None) -> Any:
    """Declare --domain; `text` says what the items are if it is not given."""
    return typer.Option("--domain", "-d", metavar="NAME|TOML", help=text, rich_help_panel=panel)


def domain_of(made: Path, name: str, chosen: str | None) -> "Domain":
    """Load the domain chosen, else the one that an artefact was made with, which may be a file left elsewhere."""
    from rella_cpp import InputError, builtin_domains, load_domain

    if chosen is None and name not in builtin_domains() and not Path(name).is_file():
        raise InputError(
            f"was made with a domain of your own, {name}, which is not here", source=made, remedy="give it as --domain"
        )
    return load_domain(chosen or name)
