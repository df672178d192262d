"""Files of models, adapters and soft prompts that a command reads or writes as files."""

from pathlib import Path
from typing import Annotated, Any

import typer

PeftFolder = Annotated[
    Path, typer.Argument(metavar="PEFT_DIR", help="Folder with adapter_config.json and adapter_model.safetensors.")
]


def base_option(text: str) -> Any:
    """Declare --base: the model that something was made for."""
    return typer.Option("--base", metavar="GGUF", help=text)


def type_option(text: str, *short: str) -> Any:
    """Declare --type: how tensors are stored."""
    return typer.Option("--type", *short, metavar="TYPE", help=text)
