"""A Ray head on this machine: started in the background, stopped to its last process.

`ray stop` would stop every Ray of this user, and leave HAProxy running. Here the processes of one
cluster are found, by the cluster's id in their environment, by its session directory, and by
descent. Knows no Serve.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from cluster.environment import packing_environment
from cluster.local.environment import (
    CLUSTER_ID_VARIABLE,
    local_environment,
    program,
    redis_environment,
)
from cluster.local.local_nodes import autoscaler_environment, autoscaling_config
from cluster.local.ports import free_ports
from cluster.local.state import RunningCluster, State
from cluster.node_groups import HEAD_ROLE, ROLE_LABEL, ClusterSpec

_OBJECT_STORE_BYTES = 256 * 1024 * 1024
_PATIENCE_S = 10.0
_POLL_S = 0.05


def start_head(
    state: State,
    profile: str,
    http_port: int,
    nodes: ClusterSpec | None = None,
    redis: str | None = None,
) -> RunningCluster:
    """Start Ray, record it, and return at once.

    With `nodes` the head has no CPUs, and Ray's autoscaler adds and removes nodes of these groups
    here. With `redis` (host:port) Ray keeps its state there and survives its GCS.

    Every server listens on the loopback interface alone, but for two that listen on all: calls
    between replicas, which ask for Ray's token, and HAProxy's metrics, which are read-only.
    """
    cluster_id = uuid.uuid4().hex
    session_directory = new_session_directory()
    dashboard, *ports = free_ports(11, but=[http_port])
    environment = local_environment(
        cluster_id, str(state.ray_token_file), session_directory, ports[:4]
    )
    command = _command(session_directory, dashboard, ports[4:])
    if nodes is not None:
        command += _autoscaled(session_directory, nodes, gcs_port=ports[4])
        environment |= autoscaler_environment() | packing_environment(nodes.packed)
    else:
        command.append("--no-monitor")  # there are no nodes to add
    if redis is None:
        command.append("--block")
    else:
        supervisor = [sys.executable, "-m", "cluster.local.gcs_supervisor", session_directory]
        command = [*supervisor, *command]
        environment |= redis_environment(redis, cluster_id)
    head = _spawn(command, environment, state.head_log)
    cluster = RunningCluster(
        cluster_id=cluster_id,
        head_pid=head.pid,
        profile=profile,
        http_port=http_port,
        dashboard_port=dashboard,
        session_directory=session_directory,
    )
    state.record(cluster)
    return cluster


def _spawn(
    command: Sequence[str], environment: Mapping[str, str], log: Path
) -> subprocess.Popen[bytes]:
    with log.open("wb") as output:
        return subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def _command(session_directory: str, dashboard: int, ports: Sequence[int]) -> list[str]:
    gcs, client, agent, agent_grpc, runtime_env, metrics = ports
    return [
        program("ray"),
        *("start", "--head", "--disable-usage-stats", "--node-ip-address=127.0.0.1"),
        *(f"--port={gcs}", f"--ray-client-server-port={client}"),
        *(f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
        *("--min-worker-port=0", "--max-worker-port=0"),
        "--include-log-monitor=false",  # it copies workers' output to a driver, and there is none
        *(f"--object-store-memory={_OBJECT_STORE_BYTES}", f"--temp-dir={session_directory}"),
    ]


def _autoscaled(session_directory: str, nodes: ClusterSpec, gcs_port: int) -> Sequence[str]:
    """Write the autoscaler's configuration; return arguments of `ray start` for it."""
    config = Path(session_directory) / "autoscaling.json"
    config.write_text(json.dumps(autoscaling_config(nodes.groups, f"127.0.0.1:{gcs_port}")))
    label = f"--labels={ROLE_LABEL}={HEAD_ROLE}"
    return [f"--autoscaling-config={config}", label, "--num-cpus=0", "--num-gpus=0"]


def new_session_directory() -> str:
    """Make a directory with a short path, in /tmp whatever TMPDIR says.

    Ray and HAProxy put Unix sockets below it, whose paths are limited to 107 bytes.
    """
    return tempfile.mkdtemp(prefix="w-", dir="/tmp")


def is_alive(cluster: RunningCluster) -> bool:
    """True while the head runs; False for another process that got its id."""
    try:
        head = psutil.Process(cluster.head_pid)
        return is_running(head) and cluster.session_directory in " ".join(head.cmdline())
    except psutil.NoSuchProcess:
        return False


def processes(cluster: RunningCluster) -> list[psutil.Process]:
    """Return every live process of the cluster, with HAProxy and orphans of a killed head."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if _belongs(process, cluster):
            found[process.pid] = process
            for child in _children(process):
                found[child.pid] = child
    found.pop(os.getpid(), None)
    return [process for process in found.values() if is_running(process)]


def stop(cluster: RunningCluster) -> int:
    """Stop all processes of the cluster and remove Ray's session files; return their number."""
    stopped = 0
    # Twice: a supervisor may start a process during the first round.
    for _ in range(2):
        alive = processes(cluster)
        stopped += len(alive)
        for process in alive:
            _signal(process, "terminate")
        stubborn = _still_running(alive)
        for process in stubborn:
            _signal(process, "kill")
        _still_running(stubborn)
    shutil.rmtree(cluster.session_directory, ignore_errors=True)
    return stopped


def is_running(process: psutil.Process) -> bool:
    """False for a zombie too: it stays for ever where PID 1 does not reap."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _still_running(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Wait for processes to end; return those that have not within `_PATIENCE_S`."""
    deadline = time.monotonic() + _PATIENCE_S
    while (left := [one for one in processes if is_running(one)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


def _belongs(process: psutil.Process, cluster: RunningCluster) -> bool:
    try:
        if process.environ().get(CLUSTER_ID_VARIABLE) == cluster.cluster_id:
            return True
        # Ray's workers overwrite their environment with their title; others name the session.
        return cluster.session_directory in " ".join(process.cmdline())
    except psutil.Error:
        return False


def _children(process: psutil.Process) -> list[psutil.Process]:
    try:
        return process.children(recursive=True)
    except psutil.Error:
        return []


def _signal(process: psutil.Process, action: str) -> None:
    try:
        getattr(process, action)()
    except psutil.NoSuchProcess:
        return
