"""Environment variables of every Ray process of a cluster on this machine."""

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import haproxy
from cluster.environment import SERVE_ENVIRONMENT
from cluster.local.ports import free_ingress_ranges

CLUSTER_ID_VARIABLE = "WINNOW_CLUSTER_ID"

# HAProxy needs two file descriptors a connection, and does not start without them.
_CONNECTIONS = 2_000


def local_environment(
    cluster_id: str, token_path: str, session_directory: str, ports: Sequence[int]
) -> dict[str, str]:
    """Return the variables of a local cluster: its id, its files, and its own four `ports`."""
    stats_port, metrics_port, fallback_http, fallback_grpc = ports
    http, grpc = free_ingress_ranges()
    # One letter: the path of HAProxy's socket also has a node id of 56 characters and a pid.
    files = f"{session_directory}/h"
    return SERVE_ENVIRONMENT | {
        CLUSTER_ID_VARIABLE: cluster_id,
        "RAY_AUTH_TOKEN_PATH": token_path,
        # With 0, Ray's own servers listen on the loopback interface alone.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        haproxy.BINARY_VARIABLE: program(haproxy.PROGRAM),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Ray's default of 15 would let anything else on the machine starve a replica.
        "RAY_worker_niceness": "0",
        # An idle cluster takes part of a core of a small machine; nothing here waits for these.
        "RAY_SERVE_CONTROL_LOOP_INTERVAL_S": "0.5",
        "RAY_SERVE_METRICS_EXPORT_INTERVAL_MS": "2000",
        "REPORTER_UPDATE_INTERVAL_MS": "15000",
        "RAY_raylet_report_resources_period_milliseconds": "1000",
        "RAY_gcs_pull_resource_loads_period_milliseconds": "5000",
        # Two busy engines would spin at barriers, each on cores that the other waits for.
        "OMP_WAIT_POLICY": "passive",
        # HAProxy hears at once of a Router that drains; the default of 30 is for load balancers
        # that poll.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        # HAProxy is replaced at the third failed check, and its stand-in learns of no new Routers.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
        "RAY_SERVE_HAPROXY_MAXCONN": str(_CONNECTIONS),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{files}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{files}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{files}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": files,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{files}/server-state",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http[-1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc[-1]),
    }


def redis_environment(redis: str, cluster_id: str) -> dict[str, str]:
    """Return the variables of a head whose GCS keeps its state in a Redis, in its own namespace."""
    return {"RAY_REDIS_ADDRESS": redis, "RAY_external_storage_namespace": cluster_id}


def program(name: str) -> str:
    """Return the path of a package's program: beside this interpreter, or else on PATH, as where
    packages are carried to a machine instead of installed."""
    beside = Path(sys.executable).parent / name
    return str(beside) if beside.exists() else shutil.which(name) or str(beside)
