"""Requests that a pod waits for before its node is drained; draining itself is in tests/serve."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.kubernetes.drain import (
    NoRayletError,
    Raylet,
    drain,
    read_raylet,
    wait_for_requests,
)

_LOOK = "import sys, time; print(flush=True); time.sleep(60)"


def test_a_raylet_says_which_node_it_is_and_where_the_gcs_answers() -> None:
    arguments = ["--node_id=ab12", "--gcs-address=10.0.0.1:6379"]
    with subprocess.Popen(
        [sys.executable, "-c", _LOOK, *arguments], stdout=subprocess.PIPE
    ) as started:
        assert started.stdout is not None
        started.stdout.readline()
        raylet = read_raylet(psutil.Process(started.pid))
        assert (raylet.node_id, raylet.gcs_address) == ("ab12", "10.0.0.1:6379")
        started.kill()


def test_another_process_is_none() -> None:
    with pytest.raises(NoRayletError, match=str(os.getpid())):
        read_raylet(psutil.Process())


def test_without_a_haproxy_there_is_nothing_to_wait_for(tmp_path: Path) -> None:
    wait_for_requests(tmp_path / "admin.sock", within_s=60, heard_s=0)


# Fails at first, as Ray's program does while no GCS answers, and ends the raylet when it does not.
_RAY = """#!/bin/sh
echo "$@" >> calls
[ "$(wc -l < calls)" -lt 3 ] && exit 1
kill "$RAYLET"
"""


def test_ray_is_told_again_while_it_does_not_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray").write_text(_RAY)
    (tmp_path / "ray").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with subprocess.Popen([sys.executable, "-c", _LOOK]) as process:
        monkeypatch.setenv("RAYLET", str(process.pid))
        drain(Raylet(psutil.Process(process.pid), "ab12", "10.0.0.1:6379"), within_s=60)
        assert process.wait(timeout=5) < 0
    told = (tmp_path / "calls").read_text().splitlines()
    assert len(told) == 3
    assert all("--node-id ab12" in line for line in told)


def test_draining_ends_with_the_time_that_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ray").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "ray").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    drain(Raylet(psutil.Process(), "ab12", "10.0.0.1:6379"), within_s=0.5)
