"""A head that outlives its GCS.

`python -m cluster.local.gcs_supervisor <session directory> ray start --head …`.

For a GCS that keeps its state in Redis. `ray start --block` ends a head with its GCS; Kubernetes
then starts the head's pod again, while the other pods wait for it. On one machine the head is all
there is, so here its other processes wait (Ray gives them a minute), and the GCS alone is started
again, by the command line it had.
"""

import subprocess
import sys
import time

import psutil

from cluster.local.head import is_running

_GCS, _RAYLET = "gcs_server", "raylet"
_POLL_S = 0.1
_LONGEST_PAUSE_S = 5.0


def keep(session_directory: str, start: list[str]) -> None:
    """Start the head; returns when it has ended."""
    subprocess.run(start, check=True)
    gcs, raylet = (_find(name, session_directory) for name in (_GCS, _RAYLET))
    command, environment = gcs.cmdline(), gcs.environ()
    pause_s = _POLL_S
    while is_running(raylet):
        time.sleep(pause_s)
        if is_running(gcs):
            pause_s = _POLL_S
        else:
            gcs = psutil.Popen(command, env=environment)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)  # it may die again at once


def _find(name: str, session_directory: str) -> psutil.Process:
    [found] = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == name
        and session_directory in " ".join(process.info["cmdline"] or ())
    ]
    return found


if __name__ == "__main__":
    keep(sys.argv[1], sys.argv[2:])
