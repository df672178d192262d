import os
import re
import signal
import sys
from collections.abc import Callable, Iterator

import pytest
from template_bombs import BOMBS, ESCAPES

from rella_cpp import EngineError
from rella_cpp.domains.templates import sandbox as sandboxes
from rella_cpp.domains.templates.environments import TemplateFailure
from rella_cpp.domains.templates.jinja import check, mentions, render, render_chat
from rella_cpp.domains.templates.sandbox import SANDBOX, Sandbox

MESSAGES = {"messages": [{"role": "user", "content": "x"}]}


@pytest.fixture(scope="module")
def hasty() -> Iterator[Sandbox]:
    sandbox = Sandbox(seconds=0.1, megabytes=300)
    yield sandbox
    sandbox.close()


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_ends_within_its_bounds(hasty: Sandbox, name: str) -> None:
    try:
        text = hasty.ask({"do": "render", "source": BOMBS[name], "chat": True, "names": MESSAGES})
    except TemplateFailure as failure:
        assert len(str(failure)) <= 1000
    else:
        assert len(text) < 100  # it had its result within the bounds


def test_the_bounds_are_named(hasty: Sandbox) -> None:
    def why(source: str) -> str:
        with pytest.raises(TemplateFailure) as caught:
            hasty.ask({"do": "render", "source": source})
        return str(caught.value)

    assert why(BOMBS["loops in loops"]) == "it takes longer than 0.1 seconds"
    assert why(BOMBS["a long text"]) == "it takes more than 300 MB of memory"
    assert why("{% for i in range(90000) %}{{ 'x' * 200 }}{% endfor %}") == "it writes more than 2,097,152 characters"
    assert why("x" * 2_000_000) == "it has 2,000,000 characters; 1,048,576 are the most"


def test_compiling_alone_is_bounded_too(hasty: Sandbox) -> None:
    # Jinja computes what is constant when it compiles.
    with pytest.raises(TemplateFailure, match="memory|seconds"):
        hasty.ask({"do": "check", "source": "{% if 7 ** 99999999 == 1 %}x{% endif %}"})


def test_after_a_bomb_the_next_template_is_rendered(hasty: Sandbox) -> None:
    with pytest.raises(TemplateFailure):
        hasty.ask({"do": "render", "source": BOMBS["loops in loops"]})
    assert hasty.ask({"do": "render", "source": "{{ 1 + 1 }}"}) == "2"


@pytest.mark.parametrize("source", ESCAPES)
def test_no_template_leaves_the_sandbox(source: str) -> None:
    try:
        text = render_chat(source, MESSAGES)
    except TemplateFailure:
        return
    assert not re.search("class|function|root|<", text.replace("Undefined", ""))


@pytest.mark.parametrize("text", ["", "é 日本 🎬 \ud800 \x00 \r\n", "{{ 1 }}", "x" * 300_000])
def test_text_comes_through_as_it_is(text: str) -> None:
    assert render("{{ a }}", {"a": text}) == text
    assert render("{{ a }}", {"a": text}, built_in=True) == text


def test_a_template_is_rendered_the_same_here_and_there() -> None:
    names = {"history": [{"text": "A", "rating": 4.5}, {"text": "B", "rating": None}], "rated": True}
    source = (
        "{% for b in history -%}\n{{ loop.index }}. {{ b.text }}"
        "{% if b.rating is not none %} {{ '%g' | format(b.rating) }}{% endif %}\n{% endfor %}\n"
    )
    assert render(source, names) == render(source, names, built_in=True) == "1. A 4.5\n2. B\n\n"


def test_a_name_that_is_not_there_is_a_failure() -> None:
    for built_in in (True, False):
        with pytest.raises(TemplateFailure, match="'nothing' is undefined"):
            render("{{ nothing }}", {}, built_in=built_in)


def test_what_a_template_asks_for_is_found_without_rendering_it() -> None:
    assert mentions("{{ soft }}", "soft") and not mentions("soft {{ hard }}", "soft")
    check("{{ a }}")
    with pytest.raises(TemplateFailure, match="unexpected"):
        check("{{ a")


def test_a_process_that_was_killed_is_started_again() -> None:
    sandbox = Sandbox()
    assert sandbox.ask({"do": "render", "source": "a"}) == "a"
    assert sandbox.process is not None
    sandbox.process.kill()
    sandbox.process.wait()
    assert sandbox.ask({"do": "render", "source": "b"}) == "b"
    sandbox.close()


@pytest.mark.parametrize(
    "source", ["{{ item.keys }}", "{{ 'a'.upper }}", "{{ 'ab' | map('upper') }}", "{{ [item.get] }}"]
)
@pytest.mark.parametrize("write", [render, render_chat])
def test_what_has_no_text_of_its_own_is_refused(source: str, write: Callable[..., str]) -> None:
    # It would be written by its address in memory, another one each time.
    for built_in in (True, False):
        with pytest.raises(TemplateFailure, match="it writes (a )?.* where a value is meant"):
            write(source, {"item": {"a": 1}}, built_in=built_in)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="a system without fork")
def test_a_forked_process_renders_and_ends_whatever_its_parent_was_doing() -> None:
    render("{{ 1 }}", {})
    with SANDBOX._lock:  # as where another thread renders at that moment
        child = os.fork()
        if child == 0:
            found = render("{{ 1 + 1 }}", {})
            SANDBOX.close()
            os._exit(found != "2")
    assert os.waitpid(child, 0)[1] == 0
    assert render("{{ 1 + 2 }}", {}) == "3"


def test_a_signal_that_we_ignore_ends_a_bomb_all_the_same() -> None:
    before = signal.signal(signal.SIGPROF, signal.SIG_IGN)
    sandbox = Sandbox(seconds=0.1)
    try:
        with pytest.raises(TemplateFailure, match="longer than 0.1 seconds"):
            sandbox.ask({"do": "render", "source": BOMBS["loops in loops"]})
    finally:
        signal.signal(signal.SIGPROF, before)
        sandbox.close()


def test_a_process_that_cannot_start_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandboxes, "_ENTRY", "raise SystemExit(3)")
    with pytest.raises(EngineError, match="does not start"):
        Sandbox().ask({"do": "render", "source": "a"})
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(EngineError, match="no process could be started"):
        Sandbox().ask({"do": "render", "source": "a"})
