"""HAProxy as Serve starts it: replaced by a stand-in when it dies, and never without routes."""

import contextlib
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import psutil
import pytest
from ray.serve._private import constants

from cluster.haproxy import (
    DRAINING,
    HEADERS_VARIABLE,
    NO_ROUTER,
    NO_ROUTES,
    Files,
    Relief,
    keep_routes,
    requests_under_way,
    serving,
    stuck_servers,
)
from cluster.kubernetes.drain import wait_for_requests
from cluster.local.ports import free_ports
from deployments.errors import StageUnavailable
from deployments.web.dialects import cohere, jina, openai

_PATIENCE_S = 20.0
_CONFIGURATION = """
global
    stats socket {socket} mode 666 level admin expose-fd listeners
defaults
    mode http
    timeout connect 1s
    timeout client 5s
    timeout server 5s
    option abortonclose
    option splice-request
    errorfile 503 {error}
frontend http_frontend
    bind 127.0.0.1:{port}
    default_backend routers
    http-request return status {status} content-type text/plain string "{answer}" if {{ path / }}
backend routers
    server router 127.0.0.1:{router}
"""

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


class Node:
    """A node as Serve's manager runs it: it writes a configuration and starts HAProxy with it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files = Files(directory / "haproxy.cfg")
        [self.port] = free_ports(1)
        self.router = 1  # nobody's port

    def configure(self, status: int, answer: str) -> None:
        socket = self.directory / "admin.sock"
        self.files.configuration.write_text(
            _CONFIGURATION.format(
                socket=socket,
                port=self.port,
                status=status,
                answer=answer,
                error=self.files.error,
                router=self.router,
            )
        )

    def start(self, *reload: str) -> subprocess.Popen[bytes]:
        """Start HAProxy; return when it answers on its admin socket, as Serve does."""
        program = "from cluster.haproxy import main; main()"
        started = subprocess.Popen(
            [sys.executable, "-c", program, "-db", "-f", str(self.files.configuration), *reload]
        )
        until(lambda: serving(self.files.admin) == started.pid)
        return started

    def get(self, path: str) -> httpx.Response:
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", trust_env=False)

    def answer(self) -> str | None:
        try:
            return self.get("/").text
        except httpx.TransportError:
            return None

    def watches(self) -> list[str]:
        """Return the ids of the watched processes."""
        commands = [_command(one) for one in self.processes()]
        return [one[-3] for one in commands if "cluster.haproxy" in one]

    def processes(self) -> list[psutil.Process]:
        return [
            one
            for one in psutil.process_iter()
            if one.pid != os.getpid() and str(self.directory) in " ".join(_command(one))
        ]


def _command(process: psutil.Process) -> list[str]:
    try:
        return list(process.cmdline())
    except psutil.Error:
        return []


def until(true: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < deadline_s, "it did not happen in time"
        time.sleep(0.02)


@pytest.fixture
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Node]:
    node = Node(tmp_path_factory.mktemp("h"))
    yield node
    for _ in range(2):  # the watch of one that is killed starts another
        for process in node.processes():
            process.kill()
        time.sleep(0.1)


def test_serves_own_words_say_that_it_knows_no_routes_or_is_drained() -> None:
    assert constants.NO_ROUTES_MESSAGE == NO_ROUTES
    assert constants.DRAINING_MESSAGE == DRAINING


def test_one_that_is_killed_is_stood_in_for_until_serve_starts_the_next(node: Node) -> None:
    node.configure(200, "routed")
    first = node.start()
    first.kill()
    first.wait()
    until(lambda: node.answer() == "routed")
    assert serving(node.files.admin) is None  # Serve finds nobody there, and starts another
    stand_in = serving(node.files.stand_in_admin)
    assert stand_in is not None

    node.configure(503, NO_ROUTES)
    second = node.start()
    assert node.answer() == "routed"
    until(lambda: not psutil.pid_exists(stand_in))
    assert node.answer() == "routed"
    second.kill()
    second.wait()


def test_one_that_is_killed_on_a_drained_node_leaves_its_port(node: Node) -> None:
    node.configure(200, "routed")
    first = node.start()
    node.configure(503, DRAINING)
    drained = node.start("-sf", str(first.pid), "-x", str(node.files.admin))
    assert first.wait(_PATIENCE_S) == 0
    assert node.answer() == DRAINING
    drained.kill()  # as Serve does
    drained.wait()
    until(lambda: node.processes() == [])
    assert node.answer() is None


def test_it_is_not_in_the_process_group_of_serves_manager(node: Node) -> None:
    node.configure(200, "routed")
    started = node.start()
    assert os.getpgid(started.pid) == started.pid


def test_a_reload_leaves_no_stand_in(node: Node) -> None:
    node.configure(200, "old routes")
    first = node.start()
    node.configure(200, "new routes")
    second = node.start("-sf", str(first.pid), "-x", str(node.files.admin))
    assert first.wait(_PATIENCE_S) == 0
    until(lambda: node.answer() == "new routes")
    until(lambda: node.watches() == [str(second.pid)])
    assert serving(node.files.admin) == second.pid
    assert serving(node.files.stand_in_admin) is None


def test_one_whose_manager_died_hands_over_to_the_next(node: Node) -> None:
    node.configure(200, "routed")
    orphan = node.start()
    node.configure(503, NO_ROUTES)
    node.start()
    assert orphan.wait(_PATIENCE_S) == 0
    assert node.answer() == "routed"


def test_routes_that_were_taken_away_do_not_come_back(node: Node) -> None:
    node.configure(200, "routed")
    keep_routes(node.files)
    node.configure(404, "no application")
    keep_routes(node.files)
    node.configure(503, NO_ROUTES)
    keep_routes(node.files)
    assert "no application" in node.files.configuration.read_text()


def test_without_a_router_it_answers_as_the_service_does(node: Node) -> None:
    node.configure(200, "routed")
    node.files.error.write_text("HTTP/1.1 500 Internal Server Error\r\n\r\n")  # Serve's own
    node.start()
    answer = node.get("/v1/search")
    error = StageUnavailable(NO_ROUTER)
    assert answer.status_code == error.status
    for dialect in (openai, jina, cohere):
        own = dialect.render_error(error, "")
        assert {field: answer.json()[field] for field in own} == own
    assert answer.headers["x-should-retry"] == "true"
    assert answer.headers["retry-after"] == f"{error.retry_after_s:g}"


def test_requests_under_way_are_counted_until_they_are_answered(node: Node) -> None:
    with socket.create_server(("127.0.0.1", 0)) as router:
        node.router = router.getsockname()[1]
        node.configure(200, "routed")
        node.start()
        assert requests_under_way(node.files.admin) == 0
        with socket.create_connection(("127.0.0.1", node.port)) as client:
            client.sendall(b"GET /slow HTTP/1.1\r\nHost: h\r\n\r\n")
            at_router, _ = router.accept()
            assert requests_under_way(node.files.admin) == 1
            # What a pod waits for before it ends: as long as it may.
            wait_for_requests(node.files.admin, within_s=0.5, heard_s=0)
            assert requests_under_way(node.files.admin) == 1
            with at_router:
                at_router.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert client.recv(1000).endswith(b"ok")
                wait_for_requests(node.files.admin, within_s=_PATIENCE_S, heard_s=0)
                assert requests_under_way(node.files.admin) == 0


@pytest.mark.parametrize("size", [1_000, 40_000, 48_000, 300_000])
def test_a_router_hears_at_once_of_a_client_that_has_gone(node: Node, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as router:
        node.router = router.getsockname()[1]
        node.configure(200, "routed")
        node.start()
        with socket.create_connection(("127.0.0.1", node.port), _PATIENCE_S) as client:
            head = f"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
            client.sendall(head.encode() + b"a" * size)
            router.settimeout(_PATIENCE_S)
            request, _ = router.accept()
            request.settimeout(1)
            with request:
                _read(request, size)
                client.close()
                with contextlib.suppress(ConnectionResetError):
                    assert request.recv(1) == b""


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
            return httpx.post(url, content=b"a" * 1_000, timeout=_PATIENCE_S, trust_env=False)

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


def _read(request: socket.socket, body: int) -> None:
    """Read a request with a body of `body` bytes."""
    read = b""
    while len(read.partition(b"\r\n\r\n")[2]) < body:
        read += request.recv(65_536)


def test_who_sends_headers_byte_by_byte_is_told_and_cut(
    node: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(HEADERS_VARIABLE, "1")
    node.configure(200, "routed")
    node.start()
    answer = b""
    with socket.create_connection(("127.0.0.1", node.port), _PATIENCE_S) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        slow.settimeout(0.1)
        began_s = time.monotonic()
        while not answer:
            assert time.monotonic() - began_s < _PATIENCE_S
            with contextlib.suppress(TimeoutError):
                slow.sendall(b"a")
                answer = slow.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close" in answer.lower()
    assert node.answer() == "routed"
