"""Environment variables of every Ray process of a cluster on this machine."""

import sys
from collections.abc import Sequence
from pathlib import Path

from cluster import haproxy
from cluster.environment import SERVE_ENVIRONMENT
from cluster.local.ports import free_ingress_ranges

CLUSTER_ID_VARIABLE = "WINNOW_CLUSTER_ID"

# Each connection takes two file descriptors of HAProxy, which will not start without them.
_CONNECTIONS = 2_000


def local_environment(
    cluster_id: str, token_path: str, session_directory: str, ports: Sequence[int]
) -> dict[str, str]:
    """For a cluster on this machine: four ports of its own, and its name in every process."""
    stats_port, metrics_port, fallback_http, fallback_grpc = ports
    http, grpc = free_ingress_ranges()
    # One letter: below it come a node id of 56 and a name that HAProxy binds with its pid appended.
    files = f"{session_directory}/h"
    return SERVE_ENVIRONMENT | {
        CLUSTER_ID_VARIABLE: cluster_id,
        "RAY_AUTH_TOKEN_PATH": token_path,
        # Off, Ray's own servers listen on the loopback interface alone, on Linux as well.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        haproxy.BINARY_VARIABLE: str(Path(sys.executable).parent / haproxy.PROGRAM),
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # Two engines that are busy at once would spin at barriers on the cores the other waits for.
        "OMP_WAIT_POLICY": "passive",
        # HAProxy hears at once of a Router that is to end, and sends elsewhere what it refuses; 30
        # are for load balancers that look now and then.
        "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "5",
        # A HAProxy that has died is replaced at the third check; its stand-in hears of no changes.
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
    """For a head whose GCS keeps its state in a Redis, apart from those of other clusters."""
    return {"RAY_REDIS_ADDRESS": redis, "RAY_external_storage_namespace": cluster_id}
