import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from rella_cpp import InputError, find_model
from rella_cpp.engine.hub import HubModel

FILES = ["README.md", "m.Q4_K_M.gguf", "m.Q8_0.gguf", "m-mmproj-f16.gguf", "big/m-f16-00001-of-00002.gguf"]
FILES += ["big/m-f16-00002-of-00002.gguf"]


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("hf:o/r", "m.Q4_K_M.gguf"),
        ("hf:o/r:Q8_0", "m.Q8_0.gguf"),
        ("hf:o/r:q8_0", "m.Q8_0.gguf"),
        ("hf:o/r:f16", "big/m-f16-00001-of-00002.gguf"),
    ],
)
def test_the_file_meant_is_chosen(name: str, file: str) -> None:
    assert HubModel.parse(name).choose(FILES) == file


def test_the_only_file_needs_no_name_and_several_are_listed() -> None:
    assert HubModel.parse("hf:o/r").choose(["odd.gguf", "x.bin"]) == "odd.gguf"
    with pytest.raises(InputError, match=r"there are: a\.IQ1_S\.gguf, b\.IQ2_S\.gguf"):
        HubModel.parse("hf:o/r").choose(["a.IQ1_S.gguf", "b.IQ2_S.gguf"])
    with pytest.raises(InputError, match="hf:o/r:Q5_0 fits no single GGUF"):
        HubModel.parse("hf:o/r:Q5_0").choose(FILES)
    with pytest.raises(InputError, match="holds no GGUF"):
        HubModel.parse("hf:o/r").choose(["x.bin"])


@pytest.mark.parametrize("name", ["hf:", "hf:owner", "hf:a/b/c", "hf:a/b:", "hf:../b:Q4 0"])
def test_a_name_of_another_form_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="hf:OWNER/REPO"):
        find_model(name)


def test_a_path_comes_from_the_option_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELLA_MODEL", "env.gguf")
    assert find_model("given.gguf") == Path("given.gguf")
    assert find_model(None) == Path("env.gguf")


def test_without_any_model_it_is_said_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rella_cpp.engine.hub.find_spec", lambda _name: None)
    with pytest.raises(InputError, match=r"no model is given; .*RELLA_MODEL.*rella pull.*smollm2"):
        find_model(None)


class Hub(BaseHTTPRequestHandler):
    """A stand-in for the hub: one repository, as its listing and download interfaces show it."""

    files: dict[str, bytes]
    requests: list[str]
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        self.requests.append(self.path)
        path = self.path.split("?")[0]
        if path.startswith("/api/models/maker/tiny/tree/main"):
            tree = [
                {"type": "file", "path": n, "size": len(d), "oid": sha256(d).hexdigest()} for n, d in self.files.items()
            ]
            self.reply(200, json.dumps(tree).encode(), body, {"Content-Type": "application/json"})
        elif (name := path.removeprefix("/maker/tiny/resolve/main/")) in self.files:
            data = self.files[name]
            headers = {"X-Repo-Commit": "a" * 40, "ETag": f'"{sha256(data).hexdigest()}"'}
            self.reply(200, data, body, headers)
        elif "/locked/" in path:
            self.reply(403, b"{}", body, {})
        else:
            self.reply(404, b"{}", body, {"X-Error-Code": "RepoNotFound"})

    def reply(self, status: int, data: bytes, body: bool, headers: dict[str, str]) -> None:
        self.send_response(status)
        for key, value in {**headers, "Content-Length": str(len(data))}.items():
            self.send_header(key, value)
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *_args: object) -> None: ...


@pytest.fixture
def hub(spm_model: Path) -> Iterator[ThreadingHTTPServer]:
    data = spm_model.read_bytes()
    Hub.files = {"README.md": b"hi", "tiny.Q4_0.gguf": data, "tiny.Q8_0.gguf": data}
    Hub.requests = []
    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def rella(*arguments: str, endpoint: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_XET": "1"}
    environment.pop("HF_HUB_OFFLINE", None)
    command = [sys.executable, "-m", "rella_cli", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=100, check=False)


def test_pull_downloads_once_and_the_model_is_found_offline(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    endpoint, home = f"http://127.0.0.1:{hub.server_port}", tmp_path / "hf"
    scoring = ("score", "--history", "examples/history.json", "--item", "examples/item.json", "--json")

    early = rella(*scoring, "--model", "hf:maker/tiny:Q8_0", endpoint=endpoint, home=home)
    assert early.returncode == 2 and "rella pull hf:maker/tiny:Q8_0" in early.stderr and not Hub.requests

    pulled = rella("pull", "hf:maker/tiny:Q8_0", endpoint=endpoint, home=home)
    assert pulled.returncode == 0, pulled.stderr
    path = Path(pulled.stdout.strip())
    assert path.name == "tiny.Q8_0.gguf" and path.read_bytes() == Hub.files["tiny.Q8_0.gguf"]
    assert not any("Q4_0" in request for request in Hub.requests)

    Hub.requests.clear()
    for name in ("hf:maker/tiny:Q8_0", "hf:maker/tiny"):
        done = rella(*scoring, "--model", name, endpoint=endpoint, home=home)
        assert done.returncode == 0 and json.loads(done.stdout)["model"]["name"] == "Tiny", done.stderr
    assert not Hub.requests  # scoring asked nobody


def test_a_pull_that_fails_says_why_in_one_line(hub: ThreadingHTTPServer, tmp_path: Path) -> None:
    endpoint, home = f"http://127.0.0.1:{hub.server_port}", tmp_path / "hf"
    for name, code, said in (
        ("hf:locked/tiny", 1, "hf:locked/tiny could not be downloaded"),
        ("hf:maker/tiny:Q6_K", 2, "tiny.Q4_0.gguf"),
        ("hf:nobody/none", 2, "no repository nobody/none"),
        ("nobody/none", 2, "hf:OWNER/REPO"),
    ):
        failed = rella("pull", name, endpoint=endpoint, home=home)
        assert (failed.returncode, failed.stdout) == (code, "")
        assert said in failed.stderr and len(failed.stderr.splitlines()) == 1
