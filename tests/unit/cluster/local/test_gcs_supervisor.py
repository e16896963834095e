"""The supervisor of a GCS watches its own head, whatever other nodes are on the machine."""

import os
import signal
import subprocess
import time
from pathlib import Path

from cluster.local.gcs_supervisor import _find


def test_the_heads_raylet_is_the_first(tmp_path: Path) -> None:
    program = tmp_path / "raylet"
    program.write_text("#!/bin/sh\nsleep 60\n")
    program.chmod(0o755)
    raylets = []
    try:
        for _ in range(2):  # the head's, and that of a node which the autoscaler starts
            raylets.append(subprocess.Popen([program, str(tmp_path)], start_new_session=True))
            time.sleep(0.1)
        assert _find("raylet", str(tmp_path)).pid == raylets[0].pid
    finally:
        for one in raylets:
            os.killpg(one.pid, signal.SIGKILL)
            one.wait()
