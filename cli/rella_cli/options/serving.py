"""Where a server listens, and within which limits."""

from typing import Annotated

import typer

from rella_cli.options.domain import domain_option
from rella_cli.options.groups import group


@group
class ServingOptions:
    """Where a server listens, whom it lets in, and how much it takes."""

    host: Annotated[
        str, typer.Option("--host", help="Listen on this address; 0.0.0.0: on all, for other machines, too.")
    ] = "127.0.0.1"
    port: Annotated[int, typer.Option("--port", help="Listen on this port; 0: on any free one.")] = 8080
    api_key: Annotated[
        str | None,
        typer.Option(
            "--api-key",
            envvar="RELLA_API_KEY",
            show_envvar=True,
            metavar="KEY",
            help="What clients must send: Authorization: Bearer KEY.",
        ),
    ] = None
    queue: Annotated[int, typer.Option("--queue", metavar="N", help="Requests that may wait; others get 429.")] = 256
    budget: Annotated[
        int, typer.Option("--budget", metavar="TOKENS", help="Tokens of a turn, about, before others have theirs.")
    ] = 4096
    max_body: Annotated[int, typer.Option("--max-body", metavar="BYTES", help="Of a request; longer ones get 413.")] = (
        1 << 22
    )
    grace: Annotated[
        float, typer.Option("--grace", metavar="SECONDS", help="To answer what was taken, once it is told to end.")
    ] = 8.0
    domain: Annotated[str, domain_option("What the items are: a built-in domain (`rella domains`) or a file.")] = (
        "movies"
    )

    def check(self) -> None:
        """Refuse numbers that are none, and a key that no header can hold."""
        from rella_cpp import InputError

        for name, value, least, most in (
            ("--port", self.port, 0, 65_535),
            ("--queue", self.queue, 1, 1_000_000),
            ("--budget", self.budget, 1, 1_000_000),
            ("--max-body", self.max_body, 1, 1 << 26),
            ("--grace", self.grace, 0, 3600),
        ):
            if not least <= value <= most:
                raise InputError(f"{name} is {value}", remedy=f"give {least:,} to {most:,}")
        key = self.api_key
        if key is not None and (not key or not key.isascii() or not key.isprintable() or " " in key):
            raise InputError("the key is empty, or has blanks or other letters than ASCII", remedy="give another one")
