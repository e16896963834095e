"""HAProxy as Serve starts it: its stand-in, its routes, and its clients."""

import contextlib
import os
import socket
import time

import psutil
import pytest
from ray.serve._private import constants

from cluster.haproxy import (
    DRAINING,
    HEADERS_VARIABLE,
    NO_ROUTER,
    NO_ROUTES,
    keep_routes,
    requests_under_way,
    serving,
)
from cluster.kubernetes.drain import wait_for_requests
from deployments.errors import StageUnavailable
from deployments.web.dialects import cohere, jina, openai
from tests.unit.cluster.haproxy import PATIENCE_S, Node, until


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
    assert first.wait(PATIENCE_S) == 0
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
    assert first.wait(PATIENCE_S) == 0
    until(lambda: node.answer() == "new routes")
    until(lambda: node.watches() == [str(second.pid)])
    assert serving(node.files.admin) == second.pid
    assert serving(node.files.stand_in_admin) is None


def test_one_whose_manager_died_hands_over_to_the_next(node: Node) -> None:
    node.configure(200, "routed")
    orphan = node.start()
    node.configure(503, NO_ROUTES)
    node.start()
    assert orphan.wait(PATIENCE_S) == 0
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
            # A pod waits for the answer before it ends, up to its limit.
            wait_for_requests(node.files.admin, within_s=0.5, heard_s=0)
            assert requests_under_way(node.files.admin) == 1
            with at_router:
                at_router.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert client.recv(1000).endswith(b"ok")
                wait_for_requests(node.files.admin, within_s=PATIENCE_S, heard_s=0)
                assert requests_under_way(node.files.admin) == 0


@pytest.mark.parametrize("size", [1_000, 40_000, 48_000, 300_000])
def test_a_router_hears_at_once_of_a_client_that_has_gone(node: Node, size: int) -> None:
    with socket.create_server(("127.0.0.1", 0)) as router:
        node.router = router.getsockname()[1]
        node.configure(200, "routed")
        node.start()
        with socket.create_connection(("127.0.0.1", node.port), PATIENCE_S) as client:
            head = f"POST /v1/embeddings HTTP/1.1\r\nhost: a\r\ncontent-length: {size}\r\n\r\n"
            client.sendall(head.encode() + b"a" * size)
            router.settimeout(PATIENCE_S)
            request, _ = router.accept()
            request.settimeout(1)
            with request:
                _read(request, size)
                client.close()
                with contextlib.suppress(ConnectionResetError):
                    assert request.recv(1) == b""


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
    with socket.create_connection(("127.0.0.1", node.port), PATIENCE_S) as slow:
        slow.sendall(b"GET / HTTP/1.1\r\nhost: a\r\nx-slow: ")
        slow.settimeout(0.1)
        began_s = time.monotonic()
        while not answer:
            assert time.monotonic() - began_s < PATIENCE_S
            with contextlib.suppress(TimeoutError):
                slow.sendall(b"a")
                answer = slow.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert b"\r\nconnection: close" in answer.lower()
    assert node.answer() == "routed"
