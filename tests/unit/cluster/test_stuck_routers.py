"""Stuck Routers: HAProxy finds them by their checks and gives their requests to another Router."""

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx
import pytest

from cluster.haproxy import Relief, stuck_servers
from tests.unit.cluster.haproxy import PATIENCE_S, Node

# As Serve's, in what a stuck Router meets.
_TWO_ROUTERS = """
backend routers
    retry-on conn-failure empty-response
    option redispatch 1
    option httpchk GET /-/healthz
    balance leastconn
    default-server fastinter 100ms inter 500ms fall 2 rise 2 check
    server stuck 127.0.0.1:{stuck} check
    server well 127.0.0.1:{well} check
"""


class _Well(BaseHTTPRequestHandler):
    """A Router that answers everything."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "4")
        self.end_headers()
        self.wfile.write(b"well")

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.do_GET()

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def well() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Well)
    threading.Thread(target=server.serve_forever).start()
    yield server.server_port
    server.shutdown()
    server.server_close()


def test_what_a_stuck_router_holds_is_answered_by_another(node: Node, well: int) -> None:
    # As one that was stopped: the kernel takes connections for it, and nobody answers.
    with socket.create_server(("127.0.0.1", 0)) as stuck:
        node.configure(200, "routed")
        configured = node.files.configuration.read_text().partition("\nbackend routers")[0]
        node.files.configuration.write_text(
            configured + _TWO_ROUTERS.format(stuck=stuck.getsockname()[1], well=well)
        )
        node.start()
        url = f"http://127.0.0.1:{node.port}/v1/search"

        def send(_: int) -> httpx.Response:
            return httpx.post(url, content=b"a" * 1_000, timeout=PATIENCE_S, trust_env=False)

        with ThreadPoolExecutor(4) as clients:
            answers = list(clients.map(send, range(4)))
        assert [answer.text for answer in answers] == ["well"] * 4
        held = [_first_bytes(stuck) for _ in range(4)]
    assert any(one.startswith(b"POST") for one in held), "none of them went to the stuck one"


def _first_bytes(listening: socket.socket) -> bytes:
    listening.settimeout(1)
    connection, _ = listening.accept()
    with connection:
        connection.settimeout(1)
        return connection.recv(100)


_COLUMNS = "# pxname,svname,scur,status,act,bck,check_status,lastchg\n"


_SERVERS = """a,one,{held},{status},1,0,{check},{changed_s}
a,two,0,{other},1,0,L7OK,100
a,spare,0,UP,0,1,L7OK,100
"""


@pytest.mark.parametrize(
    ("held", "status", "check", "changed_s", "other", "stuck"),
    [
        (3, "DOWN", "L7TOUT", 1, "UP", ["a/one"]),
        (3, "DOWN", "* L4TOUT", 1, "UP", ["a/one"]),
        (3, "DOWN 1/2", "L7TOUT", 1, "UP", ["a/one"]),
        (0, "DOWN", "L7TOUT", 1, "UP", []),
        (3, "UP 1/2", "L7TOUT", 1, "UP", []),
        (3, "DOWN", "L7STS", 1, "UP", []),  # it leaves, and finishes what it has
        (3, "DOWN", "L7TOUT", 1, "DOWN", []),  # nobody could do it instead
        (3, "DOWN", "L7TOUT", 0, "UP", []),  # it may answer the next check
    ],
)
def test_a_stuck_router_is_one_that_answers_no_check(
    held: int, status: str, check: str, changed_s: int, other: str, stuck: list[str]
) -> None:
    servers = _SERVERS.format(
        held=held, status=status, check=check, changed_s=changed_s, other=other
    )
    assert list(stuck_servers(_COLUMNS + servers)) == stuck


def test_routers_that_stall_one_after_the_other_are_not_relieved_at_once() -> None:
    now_s = [0.0]
    relief = Relief(lambda: now_s[0])
    stalled = _COLUMNS + "".join(
        f"{backend},{name},3,{status},1,0,{check},9\n"
        for backend in ("a", "b")
        for name, status, check in (
            ("one", "DOWN", "L7TOUT"),
            ("two", "DOWN", "L7TOUT"),
            ("three", "UP", "L7OK"),
        )
    )
    assert relief.due(stalled) == ["a/one", "b/one"], "one of each backend"
    one_is_free = stalled.replace("one,3", "one,0")
    now_s[0] = 4.5
    assert relief.due(one_is_free) == []
    now_s[0] = 5.0
    assert relief.due(one_is_free) == ["a/two", "b/two"]
