"""A Ray head on this machine: started in the background, stopped to its last process.

`ray stop` would stop every Ray of this user and leave HAProxy running. This finds the processes of
one cluster, by descent from its head and by the cluster's name in their environment.
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import psutil

from cluster.environment import packing_environment
from cluster.local.environment import (
    CLUSTER_ID_VARIABLE,
    local_environment,
    redis_environment,
)
from cluster.local.local_nodes import HEAD_ROLE, autoscaler_environment, autoscaling_config
from cluster.local.ports import free_ports
from cluster.local.state import RunningCluster, State
from cluster.node_groups import ROLE_LABEL, ClusterSpec

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
    """Start Ray and record it; returns at once. With `nodes` the head has no CPU of its own, and
    Ray's autoscaler adds and removes nodes of their groups here.

    With a `redis` (host:port) Ray keeps its state there, and its GCS may die and come back.

    All of it listens on the loopback interface, but for two things that can only listen on every
    one: the replicas' calls to one another, which ask for Ray's token, and HAProxy's pages of
    figures, which show and change nothing.
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
    if redis is None:
        command.append("--block")
    else:
        command = [
            sys.executable,
            "-m",
            "cluster.local.gcs_supervisor",
            session_directory,
            *command,
        ]
        environment |= redis_environment(redis, cluster_id)
    with state.head_log.open("wb") as log:
        head = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
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


def _command(session_directory: str, dashboard: int, ports: Sequence[int]) -> list[str]:
    gcs, client, agent, agent_grpc, runtime_env, metrics = ports
    return [
        str(Path(sys.executable).parent / "ray"),
        *("start", "--head", "--disable-usage-stats", "--node-ip-address=127.0.0.1"),
        *(f"--port={gcs}", f"--ray-client-server-port={client}"),
        *(f"--dashboard-port={dashboard}", "--dashboard-host=127.0.0.1"),
        *(f"--dashboard-agent-listen-port={agent}", f"--dashboard-agent-grpc-port={agent_grpc}"),
        *(f"--runtime-env-agent-port={runtime_env}", f"--metrics-export-port={metrics}"),
        *("--min-worker-port=0", "--max-worker-port=0"),
        *(f"--object-store-memory={_OBJECT_STORE_BYTES}", f"--temp-dir={session_directory}"),
    ]


def _autoscaled(session_directory: str, nodes: ClusterSpec, gcs_port: int) -> Sequence[str]:
    """Further arguments of `ray start`."""
    config = Path(session_directory) / "autoscaling.json"
    config.write_text(json.dumps(autoscaling_config(nodes.groups, f"127.0.0.1:{gcs_port}")))
    label = f"--labels={ROLE_LABEL}={HEAD_ROLE}"
    return [f"--autoscaling-config={config}", label, "--num-cpus=0", "--num-gpus=0"]


def new_session_directory() -> str:
    """Short and in /tmp, wherever TMPDIR is: Ray and HAProxy put Unix sockets below it, whose paths
    are limited to 107 bytes."""
    return tempfile.mkdtemp(prefix="w-", dir="/tmp")


def is_alive(cluster: RunningCluster) -> bool:
    """True while the head process runs (and is not another that took its number)."""
    try:
        head = psutil.Process(cluster.head_pid)
        return is_running(head) and cluster.session_directory in " ".join(head.cmdline())
    except psutil.NoSuchProcess:
        return False


def processes(cluster: RunningCluster) -> list[psutil.Process]:
    """Every live process of the cluster, HAProxy and orphans of a killed head included."""
    found: dict[int, psutil.Process] = {}
    for process in psutil.process_iter():
        if _belongs(process, cluster):
            found[process.pid] = process
            for child in _children(process):
                found[child.pid] = child
    found.pop(os.getpid(), None)
    return [process for process in found.values() if is_running(process)]


def stop(cluster: RunningCluster) -> int:
    """Stop all processes of the cluster, remove Ray's session files; returns how many it were."""
    stopped = 0
    # Twice, because a supervisor may start a process while the first round is going on.
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
    """False for a zombie too: where PID 1 reaps none, it stays for ever."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _still_running(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Those that have not ended when patience has."""
    deadline = time.monotonic() + _PATIENCE_S
    while (left := [one for one in processes if is_running(one)]) and time.monotonic() < deadline:
        time.sleep(_POLL_S)
    return left


def _belongs(process: psutil.Process, cluster: RunningCluster) -> bool:
    try:
        if process.environ().get(CLUSTER_ID_VARIABLE) == cluster.cluster_id:
            return True
        # Ray's workers overwrite their environment with their title; the others name the session.
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
