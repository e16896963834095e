"""`winnow admin`: the admin API in a process of its own, over the tenants of the Routers."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.commands.session import CommandError
from cluster.local.ports import free_ports
from cluster.local.state import State
from tests.unit.cluster.waiting import answers


@pytest.fixture
def state(tmp_path: Path) -> State:
    state = State(tmp_path)
    state.prepare()
    return state


@pytest.fixture
def journal(state: State) -> Path:
    """Usage that a Router left when it died."""
    journal = state.directory / "control" / "usage" / "left"
    journal.parent.mkdir(mode=0o700, parents=True)
    journal.write_text('[1, "acme", "embed", "model", 10, 0]\n')
    return journal


@pytest.fixture
def admin(state: State, journal: Path) -> Iterator[httpx.Client]:
    [port] = free_ports(1)
    command = [sys.executable, "-m", "cluster", "admin", "--port", str(port)]
    running = subprocess.Popen(
        command,
        env=os.environ | {"WINNOW_STATE": str(state.directory)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    key = {"authorization": f"Bearer {state.api_key()}"}
    url = f"http://127.0.0.1:{port}"
    with httpx.Client(base_url=url, headers=key, timeout=30, trust_env=False) as client:
        answers(f"{url}/healthz", running)
        yield client
    running.send_signal(signal.SIGINT)
    said, _ = running.communicate(timeout=60)
    assert running.returncode == 0, said
    assert f"{url}/v1/admin" in said
    assert "Traceback" not in said
    assert journal.exists(), "it is for a Router to store"


def test_tenants_and_keys_are_made_there_and_nothing_else_is_served(
    admin: httpx.Client, state: State
) -> None:
    made = admin.post("/v1/admin/tenants", json={"id": "acme"})
    assert made.status_code == 201, made.text
    key = admin.post("/v1/admin/keys", json={"tenant": "acme"}).json()["key"]
    by_acme = {"authorization": f"Bearer {key}"}
    assert admin.get("/v1/admin/keys", headers=by_acme).status_code == 403
    assert admin.get("/v1/admin/keys", headers={"authorization": ""}).status_code == 401
    unknown = admin.patch("/v1/admin/tenants/acme", json={"plan": "nope"})
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "plan")
    for path in ("/v1/collections", "/v1/admin/replicas", "/openapi.json", "/docs", "/ui"):
        assert admin.get(path).status_code == 404, path
    assert (state.directory / "control" / "control.db").exists(), "where the Routers have it"


def test_without_a_file_of_keys_it_says_what_makes_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WINNOW_STATE", str(tmp_path / "none"))
    done = CliRunner().invoke(app, ["admin"])
    assert isinstance(done.exception, CommandError)
    assert "keys.json" in str(done.exception)
    assert "'winnow up' makes" in str(done.exception)


def test_no_other_command_waits_for_what_it_loads() -> None:
    loaded = (
        "import sys, cluster.__main__; print(*{'ray', 'fastapi', 'uvicorn'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", loaded], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.split() == []
