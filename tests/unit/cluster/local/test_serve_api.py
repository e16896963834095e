"""Serve's REST API is asked without a proxy; its errors are told in one line."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from cluster.local.serve_api import (
    ApplicationState,
    DeploymentState,
    DeployRefusedError,
    DeployUnansweredError,
    ServeApi,
)
from deployments.calls.failure_reasons import reason
from tests.unit.cluster.servers import Answer, Asked, serving


class _Refusing(BaseHTTPRequestHandler):
    def do_PUT(self) -> None:
        content = b"Traceback (most recent call last):\nValueError: no such deployment\n"
        self.send_response(400)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Print nothing."""


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


def test_a_serve_that_is_away_is_told_in_a_line() -> None:
    with pytest.raises(DeployRefusedError, match=r"did not answer .*run 'winnow up' again$"):
        ServeApi(9, "token").deploy({})


def test_a_serve_that_does_not_answer_in_time_may_have_taken_the_configuration() -> None:
    may_answer = threading.Event()

    def answer(_: Asked) -> Answer:
        may_answer.wait(10)
        return 200, {}

    with (
        serving(answer) as serve,
        pytest.raises(DeployUnansweredError, match=r"may have taken it: see 'winnow status'$"),
    ):
        ServeApi(serve.port, "token").deploy({}, timeout_s=0.2)
    may_answer.set()


_TRACEBACK = """Deploying app 'winnow' failed with exception:
Traceback (most recent call last):
  File "a.py", line 1, in <module>
pydantic_core._pydantic_core.ValidationError: 1 validation error for EngineConfig
dtype
  Input should be 'bfloat16' [type=literal_error, input_value='int3', input_type=str]
    For further information visit https://errors.pydantic.dev/2/v/literal_error
"""


def test_the_reason_is_the_exception_alone_in_one_line() -> None:
    assert reason(_TRACEBACK) == (
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for EngineConfig dtype"
        " Input should be 'bfloat16' [type=literal_error, input_value='int3', input_type=str]"
    )
    assert reason("Replicas take long.\nThis is why.\n") == "Replicas take long. This is why."
    assert reason("") == ""


def test_problems_are_those_of_deployments_or_else_of_the_application() -> None:
    good = DeploymentState("Index", "HEALTHY", "It is well.", {"RUNNING": 1}, 1)
    bad = DeploymentState("Embedder", "DEPLOY_FAILED", "Error:\nValueError: no model", {}, 1)
    both = ApplicationState("DEPLOY_FAILED", "Failed to update ['Embedder'].", [good, bad])
    assert both.problems() == ["Embedder: ValueError: no model (no replica of it serves)"]
    assert ApplicationState("DEPLOY_FAILED", _TRACEBACK, []).problems() == [reason(_TRACEBACK)]
    assert ApplicationState("RUNNING", "", [good]).problems() == []


_FAILED_START = """A replica failed to start with exception. Retrying. Error:
Traceback (most recent call last):
  File "a.py", line 1, in __init__
ValueError: no such model
"""
_NOT_SCHEDULED = (
    "Deployment 'Embedder' in application 'winnow' has 1 replicas that have taken more than 30s to"
    " be scheduled."
)


@pytest.mark.parametrize(
    ("said", "why"),
    [(_FAILED_START, "ValueError: no such model"), (_NOT_SCHEDULED, _NOT_SCHEDULED)],
)
@pytest.mark.parametrize("status", ["UPSCALING", "DOWNSCALING"])
def test_a_replica_that_does_not_come_is_a_problem_while_others_serve(
    status: str, said: str, why: str
) -> None:
    scaling = DeploymentState("Embedder", status, said, {"RUNNING": 1, "STARTING": 1}, 2)
    deployed = ApplicationState("RUNNING", "", [scaling])
    assert deployed.problems() == [f"Embedder: {why} (1 of its replicas serves)"]
    healthy = DeploymentState("Embedder", "HEALTHY", said, {"RUNNING": 2}, 2)
    assert ApplicationState("RUNNING", "", [healthy]).problems() == [], "it is over"


@pytest.mark.parametrize("status", ["UPDATING", "UPSCALING", "HEALTHY"])
def test_to_take_long_to_start_is_no_problem(status: str) -> None:
    said = (
        "Deployment 'Embedder' in application 'winnow' has 1 replicas that have taken more than 30s"
        " to initialize.\nThis may be caused by a slow __init__ or reconfigure method."
    )
    starting = DeploymentState("Embedder", status, said, {"RUNNING": 1, "STARTING": 1}, 2)
    assert ApplicationState("DEPLOYING", "", [starting]).problems() == []


@pytest.mark.parametrize("which", ["Up", "Down"])
def test_to_scale_is_no_problem(which: str) -> None:
    said = f"{which}scaling from 1 to 2 replicas."
    scaling = DeploymentState("Embedder", f"{which}scaling".upper(), said, {"RUNNING": 1}, 2)
    assert ApplicationState("RUNNING", "", [scaling]).problems() == []


@pytest.mark.parametrize(
    ("status", "running", "said"),
    [
        ("UPDATING", 0, "no replica of it serves"),
        ("UNHEALTHY", 2, "2 of its replicas serve"),
        ("DEPLOY_FAILED", 1, "1 of its replicas of the version before serves"),
    ],
)
def test_a_problem_says_what_serves_nevertheless(status: str, running: int, said: str) -> None:
    replicas = {"RUNNING": running} if running else {"STARTING": 1}
    one = DeploymentState("Embedder", status, "ValueError: no model", replicas, 2)
    application = ApplicationState("DEPLOYING", "", [one])
    assert application.problems() == [f"Embedder: ValueError: no model ({said})"]
