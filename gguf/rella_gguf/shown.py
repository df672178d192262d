"""Names and text from files, harmless wherever they are shown: in a terminal, a page, a plot, a line of JSON."""

import json
import re

_HARMFUL = re.compile(
    r"[\x00-\x1f\x7f-\x9f\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb"
    r"\U0001d173-\U0001d17a\U000e0000-\U000e007f]"
)
"""Control characters (C0, DEL, C1), what turns the direction of text, line and paragraph separators, halves of
surrogate pairs, characters that nobody sees. Joiners (U+200C, U+200D) stay: emoji and several scripts need them."""
_BETWEEN_LINES = re.compile(r"(?![\n\t])" + _HARMFUL.pattern)
_LONGEST = 1000


def harmless(text: str, *, lines: bool = False) -> str:
    r"""Write each character that a terminal would obey, or nobody would see, as JSON escapes it: ESC as `\u001b`.

    Of a line of JSON this changes no value: such characters stand nowhere but in its strings.

    Parameters
    ----------
    lines
        Let line breaks and tabs stand.

    """
    return (_BETWEEN_LINES if lines else _HARMFUL).sub(_escape, text)


def one_line(text: str) -> str:
    """Make one line of a message, whatever it quotes: titles, a library's words, an untrusted file's."""
    line = harmless(" ".join(text.split()))
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"


def json_line(value: object, *, ascii_only: bool = False) -> str:
    """Write a JSON value on one line that is harmless in a terminal, with its line break.

    Parameters
    ----------
    ascii_only
        Escape all other characters beyond ASCII, too.

    """
    return harmless(json.dumps(value, ensure_ascii=ascii_only)) + "\n"


def _escape(found: re.Match[str]) -> str:
    return json.dumps(found[0])[1:-1]
