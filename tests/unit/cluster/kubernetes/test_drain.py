"""Requests that a pod waits for before its node is drained; draining itself is in tests/serve."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from cluster.kubernetes.drain import NoRayletError, read_raylet, wait_for_requests

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
