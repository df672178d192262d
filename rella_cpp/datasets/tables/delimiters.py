"""What stands between the fields of a table of text, and how its characters are encoded, as a user says it."""

import codecs

from rella_cpp.errors import InputError

_WORDS = {"tab": "\t", "\\t": "\t", "comma": ",", "semicolon": ";", "bar": "|"}
"""Delimiters that may be given as words."""


def check_reading(delimiter: str | None, encoding: str | None) -> None:
    """Refuse a delimiter or an encoding that no table of text can have.

    Raises
    ------
    InputError
        One is such.

    """
    if delimiter is not None:
        one = delimiter_of(delimiter)
        if len(one) != 1 or one.isalnum() or one in '"\r\n.-+ ' or not one.isascii() or one == "\0":
            raise InputError(f"delimiter is {delimiter!r}", remedy='give one character, such as ";", or tab')
    if encoding is not None:
        try:
            codec = codecs.lookup(encoding)
            "1".encode(encoding)  # refuses codecs of other things than text
            usable = codec.incrementaldecoder is not None
        except (LookupError, ValueError):
            usable = False
        if not usable:
            raise InputError(
                f"encoding is {encoding!r}", remedy="give one that Python knows, such as latin-1 or cp1252"
            )


def delimiter_of(text: str) -> str:
    """Return the delimiter that a text means: itself, or what the word says (`tab`)."""
    return _WORDS.get(text.lower(), text)
