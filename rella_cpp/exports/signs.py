"""What a text is by its first signs, told before anything is imported that reads it."""

import re

from rella_cpp.domains.inputs import is_json

_TITLE = re.compile(r"[^{\"]*\S\s*\(\d{4}\)")
"""A title and its year, alone on a line."""


def may_be_json(text: str) -> bool:
    """Tell whether a text is JSON, or was meant to be: it begins with a bracket, or its first line is a value."""
    start = text.lstrip("\ufeff \t\r\n")[:1]
    line = next((line for line in text.lstrip("\ufeff").split("\n") if line.strip()), None)
    if line is not None and _TITLE.fullmatch(line.strip()):  # [REC] (2007)
        return False
    return start in ("", "{", "[") or line is None or is_json(line)


def may_be_trakt(text: str) -> bool:
    """Tell whether JSON has a word that all of Trakt's has."""
    return '"movie"' in text or '"show"' in text
