"""Names and text from files, wherever they are shown."""

import ast
import io
import json
import logging
import re
import subprocess
import sys
import time
import unicodedata
from pathlib import Path

import pytest
from commands import Run, runner
from hypothesis import given
from hypothesis import strategies as st
from rich.progress import Progress
from test_calibration import fake_run
from tiny_model import Shape, write_model

from rella_cli.views.progress import ProgressBar
from rella_cli.views.terminal import console, facts, line, lines, note
from rella_cpp import write_page
from rella_gguf.shown import harmless, json_line, one_line

EXAMPLES = Path(__file__).parent.parent / "examples"
CLI = EXAMPLES.parent / "cli/rella_cli"
# One of each kind: ESC and BEL, C1's own CSI, an override and an isolate, a separator, a half of a pair, an unseen one.
EVIL = "\x1b[2J\x07\x9b31m\u202e\u2066\u2028\udcff\u200b[red]$x^2$[/][link=http://x]"
TOLD = r"\u001b[2J\u0007\u009b31m\u202e\u2066\u2028\udcff\u200b[red]$x^2$[/][link=http://x]"
# Format characters that are seen, or without which a word is another one: joiners, the soft hyphen, signs of scripts.
WANTED = {0x00AD, 0x200C, 0x200D, 0x070F, 0x06DD, 0x08E2, 0x110BD, 0x110CD}
WANTED |= {*range(0x0600, 0x0606), *range(0x0890, 0x0892), *range(0x13430, 0x13460), *range(0x1BCA0, 0x1BCA4)}


@pytest.fixture
def rella(capsys: pytest.CaptureFixture[str]) -> Run:
    return runner(capsys)


def tame(text: str) -> bool:
    return text == harmless(text, lines=True) and text.isprintable() | ("\n" in text)


def test_every_control_and_format_character_but_the_wanted_ones_is_escaped() -> None:
    # By what Unicode says of it, not by our list: Cc, Cf, Cs, Zl, Zp.
    for code in range(sys.maxunicode + 1):
        bad = unicodedata.category(chr(code)) in ("Cc", "Cf", "Cs", "Zl", "Zp") and code not in WANTED
        assert not bad or harmless(chr(code)).isascii(), hex(code)
    assert harmless(EVIL) == TOLD
    assert harmless("a\n\tb", lines=True) == "a\n\tb" and harmless("a\n\tb") == r"a\n\tb"


@given(st.text(st.characters(exclude_categories=("Cc", "Cf", "Cs", "Zl", "Zp"))))
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert harmless(text) == text
    assert json_line({"title": text}) == json.dumps({"title": text}, ensure_ascii=False) + "\n"


@given(st.text(st.characters(exclude_categories=())))
def test_whatever_is_shown_is_harmless_and_shown_once(text: str) -> None:
    for shown in (harmless(text), one_line(text), json_line(text)[:-1]):
        assert harmless(shown) == shown and "\n" not in shown
        assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", shown)
    assert json_line(text, ascii_only=True).isascii()
    # The value is the same: pairs of surrogates that stand side by side are one character, as JSON reads them.
    read = json.loads(json_line(text))
    assert read.encode("utf-16", "surrogatepass") == text.encode("utf-16", "surrogatepass")


def test_a_console_lets_nothing_through_that_a_view_forgot(capsys: pytest.CaptureFixture[str]) -> None:
    console().print(EVIL, soft_wrap=True)
    console().print(line(EVIL), lines(f"a\n{EVIL}"), soft_wrap=True)
    facts({"name": EVIL, EVIL: ("first\nline", "second")})
    note(f"{EVIL}\nand more")
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert tame(text) and TOLD.split(r"\u2028")[0] in text and "[red]$x^2$[/][link=http://x]" in text
    # A line break in a fact's value makes no row of its own; lines that are meant do.
    assert r"first\nline" in captured.out and captured.out.splitlines()[-1].strip() == "second"


def test_progress_and_what_is_said_in_its_place_are_harmless(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProgressBar(patience=-1) as bar:
        bar(EVIL, 0, 2, EVIL)
    said = capsys.readouterr().err
    assert said == f"note: {one_line(EVIL)} ({one_line(EVIL)})\n" and tame(said)
    monkeypatch.setenv("TTY_COMPATIBLE", "1")
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    shown: list[str] = []
    monkeypatch.setattr(Progress, "stop", lambda self: shown.append(str(self.tasks[0].description)))
    with ProgressBar() as bar:
        bar(EVIL, 1, 20, EVIL)
        bar._bar.refresh()
        bar._bar.live.stop()
    drawn = capsys.readouterr().err
    assert shown == [one_line(EVIL)] and "[red]$x^2$[/]" in drawn and "\u202e" not in drawn and "\x9b" not in drawn


class Gone(io.StringIO):
    """A stream whose reader has gone."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_long_work_speaks_once_a_minute_without_a_terminal(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    for quiet in (False, True):
        with ProgressBar(quiet=quiet) as bar:
            for done in range(0, 1000, 10):
                now[0] += 5
                bar("scoring", done, 1000, "AUC 0.7")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 100 * 5 // 60  # of the first alone
    assert lines[0] == "scoring: 110 of 1,000, 2.0/s, 0:07:25 left, AUC 0.7"
    with ProgressBar() as bar:
        for done in range(3):
            now[0] += 100
            bar("a model's trial", done, 3)
    assert capsys.readouterr().err.splitlines()[-1] == "a model's trial: 2 of 3, 0.6 a minute, 0:01:40 left"
    monkeypatch.setattr("sys.stderr", Gone())
    now[0] += 100
    with ProgressBar() as bar:
        for done in range(3):
            now[0] += 100
            bar("scoring", done, 3)  # whoever listened has gone: the work goes on


def domain_of(folder: Path) -> Path:
    """Write a domain of one's own whose words are evil, as TOML escapes them."""
    evil = TOLD.replace(r"\udcff", "")
    source = (EXAMPLES.parent / "rella_cpp/domains/movies.toml").read_text(encoding="utf-8")
    source = re.sub(r'^(noun|plural) = ".*"$', lambda found: f'{found[1]} = "{evil}"', source, flags=re.M)
    source = source.replace("required = true", f'required = true\nshow = "{{}}{evil}"', 1)
    path = folder / "own.toml"
    path.write_text(source, encoding="utf-8")
    return path


@pytest.mark.parametrize("command", ["score", "rank"])
@pytest.mark.parametrize("more", [[], ["--show-prompt"], ["--json", "--show-prompt"]])
def test_no_view_of_scores_lets_a_file_write_to_the_terminal(
    rella: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str, more: list[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    model = write_model(tmp_path / "m.gguf", name=EVIL.replace("\udcff", ""), shape=Shape(ctx=4096))
    history, items = tmp_path / "history.json", tmp_path / "items.json"
    history.write_text(json.dumps([{"title": EVIL + "\nX", "rating": 4, EVIL: 1}]), encoding="utf-8")
    items.write_text(json.dumps([{"title": "Heat\n[bold]", "id": EVIL}]), encoding="utf-8")
    given = ("--history", history, "--item", items, "--model", model, "--domain", domain_of(tmp_path), *more)
    result = rella(command, *given)
    assert result.code == 0 and tame(result.out) and tame(result.err)
    assert r"\u001b[2J" in result.out
    if "--json" in more:
        assert result.lines()[0]["item"] == {"title": "Heat\n[bold]", "id": EVIL}
    elif command == "rank" and not more:
        assert sum("Heat [bold]" in each for each in result.out.splitlines()) == 1


@pytest.mark.parametrize(
    "command", ["data info", "index info", "gguf inspect", "lora convert -o x", "compare", "domains"]
)
def test_names_of_files_are_harmless_in_errors(rella: Run, tmp_path: Path, command: str) -> None:
    result = rella(*command.split(), tmp_path / EVIL.replace("/", ""))
    assert result.code == 2 and result.out == "" and result.err.count("\n") == 1
    assert tame(result.err) and re.search(r"\\(u00|x)1b\[2J", result.err)


def test_a_domain_of_ones_own_is_shown_harmless(rella: Run, tmp_path: Path) -> None:
    path = domain_of(tmp_path)
    source = path.read_text(encoding="utf-8").replace('system = "', 'system = "\u202e\x9b31m')
    path.write_text(source, encoding="utf-8")
    shown = rella("domains", path).out
    assert r"\u202e\u009b31m" in shown and tame(shown)
    assert tame(rella("domains", path, "--json").out)


def test_what_the_library_logs_is_one_harmless_line_said_once(
    rella: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def warn(_name: str) -> None:
        for _ in range(2):
            logging.getLogger("rella_cpp").warning("odd: %s\n%s", EVIL, tmp_path)

    monkeypatch.setattr("rella_cpp.load_domain", warn)
    monkeypatch.setattr("rella_cpp.domain_source", lambda _name: "")
    result = rella("domains", "movies")
    assert result.err.startswith("rella: WARNING: odd: ") and result.err.count("\n") == 1 and tame(result.err)


def test_a_runs_name_is_no_formula_and_no_markup_on_a_page(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = (r"_a$\frac{1}{0}^{$", "b\n\x1b[31m<i>", "\udcff$x_2$", "日本")
    write_page([fake_run(tmp_path / name, 100) for name in names], tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert tame(page) and "<i>" not in page
    for told in (r"_a$\frac{1}{0}^{$", r"b\n\u001b[31m&lt;i&gt;", r"\udcff$x_2$", "日本"):
        # Its title above a histogram, and its name in both plots of curves, in the table and above its settings.
        assert f">Scores by label: {told}<" in page and page.count(f">{told}<") >= 5, told


def test_only_one_module_makes_texts_to_print() -> None:
    # Elsewhere a Text, or an echo of what comes from a file, could be made of a name as it is.
    for path in CLI.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        called = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
        assert path.name == "terminal.py" or not called & {"Text", "Console", "print", "json.dumps"}, path


def test_a_fault_of_ours_is_shown_harmless() -> None:
    code = (
        "import sys, rella_cpp\nfrom rella_cli.main import main\n"
        "def fail(_name): raise ValueError('a bug: \\x1b[2J\\u202e')\n"
        "rella_cpp.load_domain = fail\nmain(['domains', 'movies'])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr.startswith("Traceback") and tame(done.stderr)
    assert done.stderr.endswith("ValueError: a bug: \\u001b[2J\\u202e\n")
