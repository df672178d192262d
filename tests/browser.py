"""Pages in a real browser, where there is one: what it says of them, and what they fetch."""

import shutil
import subprocess
from pathlib import Path

import pytest

needs_browser = pytest.mark.skipif(shutil.which("chromium") is None, reason="there is no chromium")
_FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0")
_COUNT = "document.body.dataset.fetched = performance.getEntriesByType('resource').length"


def opened(page: Path, script: str = "") -> str:
    """Open a page in Chromium, run a script in it, and return its document then; it must fetch and log nothing."""
    copy = page.with_name(f"opened-{page.name}")
    text = page.read_text(encoding="utf-8")
    copy.write_text(text.replace("</body>", f"<script>{script};{_COUNT}</script></body>"), encoding="utf-8")
    done = subprocess.run(
        ["chromium", *_FLAGS, "--dump-dom", copy.as_uri()], capture_output=True, text=True, timeout=60, check=True
    )
    assert "CONSOLE" not in done.stderr, done.stderr
    assert 'data-fetched="0"' in done.stdout
    return done.stdout
