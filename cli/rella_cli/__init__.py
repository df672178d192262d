"""The command line: Typer and rich only. A command parses, calls one library function, shows the result."""
