import codecs
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rella_cpp import InputError, load_domain, read_history, read_items
from rella_cpp.domains.plain_text import decode, is_python, marked_encoding, read_text
from rella_gguf.regular import read_regular, refuse_special

MOVIES = load_domain("movies")
TEXT = '[{"title": "Amélie", "year": 2001}]'


@given(text=st.text().filter(lambda text: not text.startswith("\0")))
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32", "utf-16-be"])
def test_text_with_a_mark_is_read_in_any_unicode(encoding: str, text: str) -> None:
    mark = codecs.BOM_UTF16_BE if encoding == "utf-16-be" else b""
    assert decode(mark + text.encode(encoding), "a.json") == text


@given(text=st.text(st.characters(exclude_characters="\0\ufeff", exclude_categories=["Cs"])))
def test_text_without_a_mark_is_utf_8(text: str) -> None:
    assert decode(text.encode(), "a.json") == text


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (
            b'[{"title":\n"Am\xe9lie"}]',
            "a.json, line 2: is not UTF-8 (as Latin-1 or Windows-1252 it would be '\"Am\xe9lie",
        ),
        ("[1]".encode("utf-16-le"), "is no text: it holds zero bytes, as UTF-16 without its mark does"),
        (codecs.BOM_UTF16_LE + b"[\x00]", "is no whole UTF-16; save it as UTF-8"),
        (b"\x1f\x8b\x08\x00", "is compressed (gzip)"),
        (b"PK\x03\x04", "is compressed (zip, as an .xlsx is, too); unpack it; save a sheet as CSV"),
    ],
)
def test_other_bytes_are_refused_by_what_they_are(data: bytes, said: str) -> None:
    with pytest.raises(InputError) as caught:
        decode(data, "a.json")
    assert said in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig", "utf-32"])
def test_histories_and_items_are_read_as_excel_and_powershell_save_them(tmp_path: Path, encoding: str) -> None:
    path = tmp_path / "a.json"
    path.write_text(TEXT, encoding=encoding)
    assert marked_encoding(path.read_bytes()) == encoding
    assert read_items(path, MOVIES)[0].fields == {"title": "Amélie", "year": 2001}
    assert read_history(path, MOVIES).behaviors[0].item.fields["title"] == "Amélie"
    assert read_text(path, "") == TEXT


def test_what_python_prints_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(str([{"title": "Heat", "rating": None}]))
    with pytest.raises(InputError, match="line 1: is what Python prints, not JSON .*; write it with json.dump"):
        read_history(path, MOVIES)
    assert is_python("[{u'a': 1}]") and not is_python("{\"a\": 'b'}")


def test_a_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    with (tmp_path / "hole.json").open("wb") as file:
        file.truncate((1 << 30) + 1)  # sparse: it takes no disk
    with pytest.raises(InputError, match="is larger than 1 GiB"):
        read_regular(tmp_path / "hole.json")
    refuse_special(tmp_path / "hole.json")
    refuse_special(tmp_path / "none.json")  # which opening it says
