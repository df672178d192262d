"""`rella domains`: the built-in domains, and one's TOML to start an own from."""

from typing import Annotated

import typer

from rella_cli.options.output import Json


def domains(
    name: Annotated[
        str | None, typer.Argument(help="Print this one's TOML, a start for your own; or check your own TOML file.")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the built-in domains, or print one as TOML."""
    from rella_cli.views.terminal import print_json
    from rella_cpp import builtin_domains, domain_source, load_domain
    from rella_cpp.domains.plain_text import read_text
    from rella_gguf.shown import harmless

    if name is not None:
        load_domain(name)
        source = read_text(name, "give a TOML file") if name.endswith(".toml") else domain_source(name)
        if as_json:
            print_json({"name": name, "toml": source})
        else:
            typer.echo(harmless(source, lines=True), nl=False)
        return
    for known in builtin_domains():
        fields = [entry.name for entry in load_domain(known).item]
        if as_json:
            print_json({"name": known, "item": fields})
        else:
            typer.echo(f"{known:10} {', '.join(fields)}")
