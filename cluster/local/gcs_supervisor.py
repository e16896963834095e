"""A supervisor that restarts the GCS of a local head.

`python -m cluster.local.gcs_supervisor <session directory> ray start --head …`.

For a GCS that keeps its state in Redis. `ray start --block` would end the head with its GCS; on
Kubernetes the head's pod then restarts while the other pods wait. On one machine the head is the
whole cluster, so only the GCS is restarted, by its own command line, while the other processes
wait; Ray gives them a minute.
"""

import subprocess
import sys
import time

import psutil

from cluster.local.head import is_running

_GCS, _RAYLET = "gcs_server", "raylet"
_POLL_S = 0.1
_LONGEST_PAUSE_S = 5.0


def supervise(session_directory: str, start: list[str]) -> None:
    """Start the head and restart its GCS; return when the head has ended."""
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
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)  # it may die again and again


def _find(name: str, session_directory: str) -> psutil.Process:
    found = [
        process
        for process in psutil.process_iter(["name", "cmdline"])
        if process.info["name"] == name
        and session_directory in " ".join(process.info["cmdline"] or ())
    ]
    # The head's own; the autoscaler may have started other nodes here meanwhile.
    return min(found, key=lambda process: process.create_time())


if __name__ == "__main__":
    supervise(sys.argv[1], sys.argv[2:])
