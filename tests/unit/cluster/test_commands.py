"""Commands that need only the record of a cluster: `url`, `up`, `status`, `models pull`."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.commands.session import CommandError
from cluster.local.serve_api import DeployRefusedError, DeployUnansweredError
from cluster.local.state import State
from deployments.engine import weights
from tests.unit.cluster.servers import Answer, Asked, serving


@pytest.mark.usefixtures("running")
def test_url_is_that_of_the_running_cluster() -> None:
    assert CliRunner().invoke(app, ["url"]).output == "http://127.0.0.1:8123\n"


@pytest.mark.usefixtures("state")
def test_url_without_a_cluster_says_how_to_start_one() -> None:
    done = CliRunner().invoke(app, ["url"])
    assert isinstance(done.exception, CommandError)
    assert "winnow up" in str(done.exception)


_FAILED = {
    "status": "DEPLOY_FAILED",
    "message": "Traceback (most recent call last):\n  File ...\nValueError: no such bound\n",
    "deployments": {},
}


@pytest.mark.parametrize(
    ("deployed", "error", "said"),
    [
        (400, DeployRefusedError, "Serve refused the configuration"),
        (200, CommandError, "^the deployment failed: ValueError: no such bound$"),
    ],
)
def test_a_profile_that_serve_does_not_take_is_not_recorded(
    deployed: int, error: type[Exception], said: str, running: State, profile: Path
) -> None:
    def answer(asked: Asked) -> Answer:
        return (deployed, {}) if asked.method == "PUT" else (200, {"applications": applications})

    applications = {"winnow": _FAILED}
    cluster = running.running()
    assert cluster is not None
    with serving(answer) as serve:
        running.record(cluster.model_copy(update={"dashboard_port": serve.port}))
        done = CliRunner().invoke(app, ["up", "--profile", str(profile)])
    assert isinstance(done.exception, error)
    assert re.search(said, str(done.exception))
    recorded = running.running()
    assert recorded is not None
    assert recorded.profile == "local"
    assert recorded.failed_profile == (str(profile) if deployed == 200 else None)


def test_a_profile_that_serve_may_have_taken_is_recorded_as_not_brought_to(
    running: State, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_answer = threading.Event()

    def answer(asked: Asked) -> Answer:
        if asked.method == "PUT":
            may_answer.wait(10)
        return 200, {"applications": {}}

    monkeypatch.setattr("cluster.commands.up._LEAST_DEPLOY_S", 0.2)
    cluster = running.running()
    assert cluster is not None
    with serving(answer) as serve:
        running.record(cluster.model_copy(update={"dashboard_port": serve.port}))
        done = CliRunner().invoke(app, ["up", "--profile", str(profile), "--timeout-s", "0"])
        may_answer.set()
    assert isinstance(done.exception, DeployUnansweredError)
    recorded = running.running()
    assert recorded is not None
    assert (recorded.profile, recorded.failed_profile) == ("local", str(profile))


_STARTING = {
    "replica_id": "s",
    "state": "STARTING",
    "pid": None,
    "node_id": None,
    "node_ip": None,
}


def _deployment(name: str, status: str, message: str, state: str) -> dict[str, Any]:
    replica = {"replica_id": "r", "state": state, "pid": 1, "node_id": "n", "node_ip": "10.0.0.1"}
    return {
        "name": name,
        "status": status,
        "message": message,
        "replicas": [replica],
        "target_num_replicas": 1,
    }


_RETRYING = "A replica failed to start with exception. Retrying 2 more time(s). Error:\n"
_FAILING = {
    "status": "DEPLOYING",
    "message": "",
    "deployments": {
        "Index": _deployment("Index", "HEALTHY", "", "RUNNING"),
        "Embedder": _deployment(
            "Embedder",
            "UPDATING",
            f"{_RETRYING}Traceback (...)\nValueError: no model\n",
            "STARTING",
        ),
    },
}


@contextmanager
def _cluster_of(running: State, application: dict[str, Any], **readiness: Any) -> Iterator[None]:
    """The record is of a cluster whose Serve and service are servers of the test."""

    def serve(_: Asked) -> Answer:
        return 200, {"applications": {"winnow": application}}

    def service(_: Asked) -> Answer:
        return 200, {"ready": False, "stages": readiness}

    cluster = running.running()
    assert cluster is not None
    with serving(serve) as one, serving(service) as other:
        ports = {"dashboard_port": one.port, "http_port": other.port}
        running.record(cluster.model_copy(update=ports | {"failed_profile": "mine.yaml"}))
        yield


def test_up_names_what_cannot_start_once_and_when_it_gives_up(
    running: State, profile: Path
) -> None:
    arguments = ["up", "--profile", str(profile), "--timeout-s", "1.5"]
    with _cluster_of(running, _FAILING):
        done = CliRunner().invoke(app, arguments)
    said = "Embedder: ValueError: no model (no replica of it serves)"
    assert done.output.count(said) == 1
    assert isinstance(done.exception, CommandError)
    assert str(done.exception) == f"gave up waiting for {said}; 'winnow status' shows more"


def test_up_names_a_stage_that_runs_and_is_not_ready(running: State, profile: Path) -> None:
    healthy = {"Index": _deployment("Index", "HEALTHY", "", "RUNNING")}
    application = {"status": "RUNNING", "message": "", "deployments": healthy}
    stage = {"ready": False, "detail": "the directory cannot be created"}
    with _cluster_of(running, application, retrieve=stage):
        done = CliRunner().invoke(app, ["up", "--profile", str(profile), "--timeout-s", "0"])
    assert "Index: the directory cannot be created" in done.output
    assert "Index: the directory cannot be created" in str(done.exception)


def test_status_shows_what_failed_and_what_serves(running: State) -> None:
    with _cluster_of(running, _FAILING, retrieve={"ready": False, "detail": "it is away"}):
        shown = CliRunner().invoke(app, ["status"]).output
    lines = shown.splitlines()
    assert "profile local  DEPLOYING" in lines[0]
    assert lines[-3:] == [
        "it could not be brought to mine.yaml:",
        "Embedder: ValueError: no model (no replica of it serves)",
        "Index: it is away",
    ]


def test_status_says_that_the_version_before_serves_where_serve_lists_none(
    running: State,
) -> None:
    def answer(asked: Asked) -> Answer:
        if asked.path == "/readyz":
            return 200, {"ready": True, "stages": {}}
        return 200, {"applications": {"winnow": _FAILED}}

    cluster = running.running()
    assert cluster is not None
    with serving(answer) as both:
        ports = {"dashboard_port": both.port, "http_port": both.port}
        running.record(cluster.model_copy(update=ports))
        shown = CliRunner().invoke(app, ["status"]).output
    assert "ValueError: no such bound (the version before serves)" in shown


def test_status_cuts_no_state_on_a_narrow_terminal(
    running: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    failed = _deployment("Embedder", "DEPLOY_FAILED", "ValueError: no model", "RUNNING")
    failed["replicas"] *= 2
    failed["replicas"].append(_STARTING)
    application = {"status": "DEPLOY_FAILED", "message": "", "deployments": {"Embedder": failed}}
    stage = {
        "ready": True,
        "detail": None,
        "model": "ms-marco-MiniLM-L-12-v2",
        "queued_rows": 1_000,
    }
    with _cluster_of(running, application, embed=stage):
        shown = CliRunner().invoke(app, ["status"]).output
    assert "DEPLOY_FAILED" in shown.splitlines()[3]
    assert "ms-marco-MiniLM-L-12-v2" in shown
    assert "…" not in shown


@pytest.mark.usefixtures("running")
def test_a_cluster_whose_dashboard_does_not_answer_is_told_in_one_line(profile: Path) -> None:
    for arguments in (["status"], ["up", "--profile", str(profile), "--timeout-s", "0"]):
        done = CliRunner().invoke(app, arguments)
        assert isinstance(done.exception, CommandError)
        assert "head.log" in str(done.exception) or "Ray's dashboard" in str(done.exception)


def test_models_pull_fetches_the_revision_that_the_profile_pins(
    profile: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def locate(model: str, revision: str | None, **options: bool) -> Path:
        asked.append((model, revision, options["weights"]))
        return tmp_path / "snapshot"

    monkeypatch.setattr(weights, "locate", locate)
    shown = CliRunner().invoke(app, ["models", "pull", str(profile)]).output
    assert asked == [("a/b", "v2", True)]
    assert shown.replace("\n", "") == f"{tmp_path}: {tmp_path}a/b: {tmp_path}/snapshot"
