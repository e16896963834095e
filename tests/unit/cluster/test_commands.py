"""Verbs that need no cluster, or only the record of one."""

import os
import re
from pathlib import Path

import psutil
import pytest
import yaml
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.commands.render import manifest
from cluster.commands.session import CommandError
from cluster.local.serve_api import DeployRefusedError
from cluster.local.state import RunningCluster, State
from cluster.profile import load_profile
from deployments.engine import weights
from tests.unit.cluster.servers import Answer, Asked, serving

_PODS = Path(__file__).parents[3] / "k8s" / "cluster.yaml"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> State:
    state = State(tmp_path / "state")
    state.prepare()
    monkeypatch.setenv("WINNOW_STATE", str(state.directory))
    return state


@pytest.fixture
def running(state: State) -> State:
    """A record of a cluster on port 8123, whose head is this very process."""
    state.record(
        RunningCluster(
            cluster_id="none",
            head_pid=os.getpid(),
            profile="local",
            http_port=8123,
            dashboard_port=8124,
            session_directory=psutil.Process().cmdline()[0],
        )
    )
    return state


@pytest.fixture
def profile(tmp_path: Path) -> Path:
    """A profile whose models are a directory and a revision of a Hub id."""
    profile = load_profile("local")
    args = profile["applications"][0]["args"]
    args["embedder"]["engine"]["model"] = str(tmp_path)
    args["reranker"]["engine"] |= {"model": "a/b", "revision": "v2"}
    path = tmp_path / "profile.yaml"
    path.write_text(yaml.safe_dump(profile))
    return path


@pytest.mark.usefixtures("running")
def test_url_is_that_of_the_running_cluster() -> None:
    assert CliRunner().invoke(app, ["url"]).output == "http://127.0.0.1:8123\n"


@pytest.mark.usefixtures("state")
def test_url_without_a_cluster_says_how_to_start_one() -> None:
    done = CliRunner().invoke(app, ["url"])
    assert isinstance(done.exception, CommandError)
    assert "winnow up" in str(done.exception)


@pytest.mark.usefixtures("running")
def test_up_on_another_port_than_the_running_clusters_is_refused(profile: Path) -> None:
    done = CliRunner().invoke(app, ["up", "--profile", str(profile), "--port", "8125"])
    assert isinstance(done.exception, CommandError)
    assert "port 8123" in str(done.exception)


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


def test_render_writes_what_it_prints(tmp_path: Path) -> None:
    output = tmp_path / "rayservice.yaml"
    arguments = ["render", "--profile", "production", "--pods", str(_PODS)]
    printed = CliRunner().invoke(app, arguments)
    written = CliRunner().invoke(app, [*arguments, "--output", str(output)])
    assert printed.output == output.read_text() == manifest("production", _PODS)
    assert written.output == ""


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
