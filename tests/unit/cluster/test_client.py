"""Verbs before a server that is not Winnow: it redirects, or answers something else."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.client import ApiError

_VERBS = [
    ["search", "c", "q"],
    ["ingest", "c", "notes.txt"],
    ["tenants", "list"],
    ["keys", "revoke", "abc"],
]
_ANSWERS = {"/page": b"<html>hello</html>", "/list": b"[]"}


class _NotWinnow(BaseHTTPRequestHandler):
    """Below /moved everything is elsewhere; below the others each answer is the same."""

    def handle_request(self) -> None:
        self.rfile.read(int(self.headers.get("content-length", 0)))
        content = _ANSWERS.get(f"/{self.path.split('/')[1]}")
        self.send_response(301 if content is None else 200)
        if content is None:
            self.send_header("Location", "https://winnow.example/")
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


for _method in ("GET", "PUT", "POST", "PATCH", "DELETE"):
    setattr(_NotWinnow, f"do_{_method}", _NotWinnow.handle_request)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _NotWinnow)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WINNOW_API_KEY", "k")
    Path("notes.txt").write_text("A text.")


@pytest.mark.parametrize("arguments", _VERBS)
@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("/moved", "redirects to https://winnow.example/: give the URL of Winnow itself"),
        ("/page", "is not Winnow's: check the URL"),
        ("/list", "is not Winnow's: check the URL"),
    ],
)
def test_a_url_that_is_not_winnows_is_told_in_a_line(
    arguments: list[str], path: str, said: str, url: str
) -> None:
    done = CliRunner().invoke(app, [*arguments, "--url", url + path])
    assert isinstance(done.exception, ApiError)
    assert said in str(done.exception)


@pytest.mark.parametrize("path", ["/moved", "/page", "/list"])
def test_smoke_fails_each_check_there(path: str, url: str) -> None:
    done = CliRunner().invoke(app, ["smoke", "--url", url + path])
    assert isinstance(done.exception, SystemExit)
    assert (done.exit_code, done.output.count("fail ")) == (1, 7)
