"""`winnow up` while it waits: Serve is away, Ctrl-C, a cluster that is stopped meanwhile."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.commands.session import CommandError
from cluster.local.state import State
from tests.unit.cluster.servers import Answer, Asked, serving

_NOTHING: Answer = (200, {"applications": {}})
_AWAY: Answer = (503, {"error": "the GCS may be down"})


@contextmanager
def _deployed(running: State, then: Callable[[], Answer]) -> Iterator[None]:
    """The record is of a cluster whose Serve answers `then` from a deployment on."""
    taken = []

    def answer(asked: Asked) -> Answer:
        if asked.method == "PUT":
            taken.append(asked)
            return 200, {}
        return then() if taken else _NOTHING

    cluster = running.running()
    assert cluster is not None
    with serving(answer) as serve:
        running.record(cluster.model_copy(update={"dashboard_port": serve.port}))
        yield


def _profiles(state: State) -> tuple[str, str | None]:
    recorded = state.running()
    assert recorded is not None
    return recorded.profile, recorded.failed_profile


def _up(profile: Path, timeout_s: str = "1") -> BaseException | None:
    arguments = ["up", "--profile", str(profile), "--timeout-s", timeout_s]
    return CliRunner().invoke(app, arguments).exception


def test_a_dashboard_without_serve_behind_it_is_waited_for(running: State, profile: Path) -> None:
    with _deployed(running, lambda: _AWAY):
        gave_up = _up(profile)
        asked = CliRunner().invoke(app, ["status"]).exception
    assert isinstance(gave_up, CommandError)
    assert "gave up waiting for Ray's dashboard" in str(gave_up)
    assert isinstance(asked, CommandError)
    assert "Ray's dashboard does not answer: see" in str(asked)
    assert _profiles(running) == ("local", str(profile))


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
def test_what_ends_the_wait_leaves_a_record_of_the_profile_that_was_not_reached(
    error: type[BaseException],
    running: State,
    profile: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def pause(deadline: float, waiting: str) -> None:  # noqa: ARG001
        raise error

    monkeypatch.setattr("cluster.commands.up._pause", pause)
    with _deployed(running, lambda: _NOTHING):
        assert _up(profile) is not None
    assert _profiles(running) == ("local", str(profile))


def test_a_cluster_that_is_stopped_is_not_waited_for_and_its_record_stays_away(
    running: State, profile: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    alive = [True]

    def down() -> Answer:
        alive.clear()
        running.forget()
        return _AWAY

    monkeypatch.setattr("cluster.commands.up.is_alive", lambda _: bool(alive))
    with _deployed(running, down):
        stopped = _up(profile, timeout_s="5")
    assert isinstance(stopped, CommandError)
    assert "the cluster has stopped meanwhile: see" in str(stopped)
    assert running.running() is None
