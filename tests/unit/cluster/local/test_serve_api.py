"""Serve's REST interface is on this machine, whatever proxy the environment names."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.local.serve_api import DeployRefusedError, ServeApi


class _Refusing(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        content = b"Traceback (most recent call last):\nValueError: no such deployment\n"
        self.send_response(400)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> Iterator[ServeApi]:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Refusing)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield ServeApi(server.server_port, "token")
    server.shutdown()
    server.server_close()


def test_a_refused_configuration_is_an_error_with_the_last_line(api: ServeApi) -> None:
    with pytest.raises(DeployRefusedError, match=r"configuration: ValueError: no such deployment$"):
        api.deploy({})
