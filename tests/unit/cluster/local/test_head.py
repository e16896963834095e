"""A local cluster's files have short paths, and none of its processes is left behind."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from ray.serve._private import constants

from cluster.local import head
from cluster.local.environment import CLUSTER_ID_VARIABLE, local_environment
from cluster.local.head import is_alive, is_running, new_session_directory, processes, stop
from cluster.local.state import RunningCluster

# A process that lives, and a child of it that has ended and is never waited for.
_PARENT_OF_A_ZOMBIE = """
import subprocess, time
child = subprocess.Popen(["true"])
while open(f"/proc/{child.pid}/stat").read().split()[2] != "Z":
    time.sleep(0.01)
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def environment() -> dict[str, str]:
    return local_environment("id", "token", "/tmp/w-12345678", [1, 2, 3, 4])


def test_haproxys_socket_has_a_path_that_linux_takes(environment: dict[str, str]) -> None:
    socket = Path(environment["RAY_SERVE_HAPROXY_SOCKET_PATH"])
    node_id = "0" * 56
    # Serve makes a folder of the node's id; HAProxy binds another name first, with its pid in it.
    bound = socket.parent / node_id / f"{socket.name}.4194304.tmp"
    assert len(str(bound)) <= 107


def test_the_session_lies_in_tmp_wherever_tmpdir_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    directory = new_session_directory()
    Path(directory).rmdir()
    assert len(directory) == len("/tmp/w-12345678")
    assert directory.startswith("/tmp/w-")


def test_every_file_of_haproxy_lies_in_the_session(environment: dict[str, str]) -> None:
    elsewhere = [
        name
        for name, value in vars(constants).items()
        if name.startswith("RAY_")
        and str(value).startswith("/tmp/")
        and not environment.get(name, "").startswith("/tmp/w-")
    ]
    assert elsewhere == []


def test_stop_does_not_wait_for_zombies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(head, "_PATIENCE_S", 120.0)
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT_OF_A_ZOMBIE],
        env={CLUSTER_ID_VARIABLE: "zombies"},
        stdout=subprocess.PIPE,
    )
    assert parent.stdout is not None
    with parent.stdout:
        parent.stdout.readline()
    cluster = RunningCluster(
        cluster_id="zombies",
        head_pid=parent.pid,
        profile="local",
        http_port=1,
        dashboard_port=2,
        session_directory=new_session_directory(),
    )
    [zombie] = psutil.Process(parent.pid).children()
    assert not is_running(zombie)
    assert [process.pid for process in processes(cluster)] == [parent.pid]
    began = time.monotonic()
    assert stop(cluster) == 1
    assert time.monotonic() - began < 60
    assert not is_running(psutil.Process(parent.pid))
    assert not is_alive(cluster)
    assert not Path(cluster.session_directory).exists()
    parent.wait()
