"""Move a pod's replicas elsewhere before it ends: the chart's preStop hook.

Without it an eviction ends the raylet, its replicas and the pod's HAProxy at once, with all their
requests. In turn:

1. The pod is taken out of its service, which takes a moment to be known everywhere. Requests under
   way at its HAProxy end; most are at Routers of other pods.
2. Ray is told that the node is being preempted. Serve starts replicas elsewhere, then ends those
   here, each with the requests that it has.
3. The raylet ends when it has nothing left, or at the latest when the time is up.

Knows Ray's command line, the raylet's arguments and HAProxy's admin socket; no Kubernetes.
"""

import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import psutil
import typer

from cluster.haproxy import requests_under_way

PROGRAM = "winnow-drain"
# Set for a cluster on one machine; Serve's own default elsewhere.
_SOCKET_VARIABLE = "RAY_SERVE_HAPROXY_SOCKET_PATH"
_SOCKET = "/tmp/haproxy-serve/admin.sock"
# For whoever sends requests to hear that the pod is gone from its service.
_HEARD_S = 10.0
_POLL_S = 0.2


@dataclass(frozen=True, slots=True)
class Raylet:
    """A node's raylet; the id of its node, and where the GCS answers."""

    process: psutil.Process
    node_id: str
    gcs_address: str


class NoRayletError(Exception):
    """There is no raylet on this node: nothing to drain."""


def find_raylet() -> Raylet:
    """Return the one raylet of this pod. Raises NoRayletError."""
    for process in psutil.process_iter(["name", "cmdline"]):
        if process.info["name"] == "raylet":
            return read_raylet(process)
    raise NoRayletError("no raylet runs here: there is nothing to drain")


def read_raylet(process: psutil.Process) -> Raylet:
    command = " ".join(process.cmdline())
    node, gcs = (re.search(rf"--{name}=(\S+)", command) for name in ("node_id", "gcs-address"))
    if node is None or gcs is None:
        raise NoRayletError(f"process {process.pid} is not a raylet of Ray 2.60")
    return Raylet(process, node[1], gcs[1])


def wait_for_requests(admin: Path, within_s: float, heard_s: float = _HEARD_S) -> None:
    """Wait until HAProxy has no requests, for `heard_s` at least and `within_s` at most."""
    began = time.monotonic()
    while (waited := time.monotonic() - began) < within_s:
        if waited >= heard_s and not requests_under_way(admin):
            return
        time.sleep(_POLL_S)


def drain(raylet: Raylet, within_s: float) -> None:
    """Tell Ray that the node ends in `within_s`, and wait so long at most for its raylet to end.

    Tells it again while Ray's GCS does not answer: it may be on the node that was lost.
    """
    ends = time.monotonic() + within_s
    is_told = False
    while time.monotonic() < ends and _is_alive(raylet.process):
        is_told = is_told or _tell(raylet, ends - time.monotonic())
        time.sleep(_POLL_S)


def _tell(raylet: Raylet, left_s: float) -> bool:
    """Return whether Ray has taken it, in the seconds that are left."""
    command = [
        *("ray", "drain-node", "--address", raylet.gcs_address, "--node-id", raylet.node_id),
        # The reason that is never refused, whatever runs on the node.
        *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "the pod ends"),
        *("--deadline-remaining-seconds", str(max(1, int(left_s)))),
    ]
    try:
        return subprocess.run(command, check=False, timeout=left_s).returncode == 0
    except subprocess.TimeoutExpired:
        return False


def _is_alive(process: psutil.Process) -> bool:
    return process.is_running() and process.status() != psutil.STATUS_ZOMBIE


def run(
    requests_s: Annotated[float, typer.Option(help="Longest time for requests at HAProxy.")],
    within_s: Annotated[float, typer.Option(help="Time for everything.")],
) -> None:
    """Drain this pod's node."""
    began = time.monotonic()
    raylet = find_raylet()
    admin = Path(os.environ.get(_SOCKET_VARIABLE, _SOCKET))
    wait_for_requests(admin, min(requests_s, within_s))
    drain(raylet, within_s - (time.monotonic() - began))


def main() -> None:
    typer.run(run)


if __name__ == "__main__":
    main()
