"""`rella domains`: the built-in domains, one's TOML to start from, and what prompts of your own look like."""

from typing import Annotated

import typer

from rella_cli.options.output import Json


def domains(
    name: Annotated[
        str | None,
        typer.Argument(
            help="Print this one's TOML, a start for your own; or check your own TOML file, and show sample prompts."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the built-in domains, print one as TOML, or show the prompts that a TOML file of yours makes."""
    from rella_cli.views.terminal import print_json
    from rella_cpp import builtin_domains, domain_source, load_domain
    from rella_cpp.domains.plain_text import read_text
    from rella_cpp.prompts.sample import sample_prompts
    from rella_gguf.shown import harmless

    if name is not None:
        domain, own = load_domain(name), name.endswith(".toml")
        source = read_text(name, "give a TOML file") if own else domain_source(name)
        prompts = sample_prompts(domain) if own or as_json else {}
        if as_json:
            print_json({"name": name, "toml": source, "prompts": prompts})
        elif own:
            shown = "\n\n".join(f"--layout {layout}:\n\n{text}" for layout, text in prompts.items())
            typer.echo(harmless(shown, lines=True))
        else:
            typer.echo(harmless(source, lines=True), nl=False)
        return
    for known in builtin_domains():
        fields = [entry.name for entry in load_domain(known).item]
        if as_json:
            print_json({"name": known, "item": fields})
        else:
            typer.echo(f"{known:10} {', '.join(fields)}")
