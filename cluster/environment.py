"""The environment of every Ray process of a cluster. Ray and Serve read these when they start."""

from collections.abc import Sequence

from cluster.ports import free_ingress_ranges

CLUSTER_ID_VARIABLE = "WINNOW_CLUSTER_ID"

# Each connection takes two file descriptors of HAProxy, which will not start without them.
_LOCAL_CONNECTIONS = 2_000
_POD_CONNECTIONS = 20_000

# What local clusters and Kubernetes pods have in common.
_SERVE_ENVIRONMENT = {
    # HAProxy straight to the Router's replicas; the two belong together (7 times the requests).
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Vectors of a large batch are over gRPC's usual 4 MiB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 1024 * 1024),
    # A client that sends nothing for longer than any request may take loses its connection; an hour
    # unless said.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "130",
    # Headers that command Serve are not the client's to send.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.api.edge:middlewares",
    # Ray 2.60 would choose by itself whether its ports ask for a token.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def pod_environment() -> dict[str, str]:
    """For a Kubernetes pod. KubeRay sets Ray's token variables from `authOptions`."""
    shared = {name: value for name, value in _SERVE_ENVIRONMENT.items() if name != "RAY_AUTH_MODE"}
    return shared | {"RAY_SERVE_HAPROXY_MAXCONN": str(_POD_CONNECTIONS)}


def local_environment(
    cluster_id: str, token_path: str, session_directory: str, ports: Sequence[int]
) -> dict[str, str]:
    """For a cluster on this machine: four ports of its own, and its name in every process."""
    stats_port, metrics_port, fallback_http, fallback_grpc = ports
    http, grpc = free_ingress_ranges()
    # One letter: below it come a node id of 56 and a name that HAProxy binds with its pid appended.
    haproxy = f"{session_directory}/h"
    return _SERVE_ENVIRONMENT | {
        CLUSTER_ID_VARIABLE: cluster_id,
        "RAY_AUTH_TOKEN_PATH": token_path,
        # Off, Ray's own servers listen on the loopback interface alone, on Linux as well.
        "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
        "RAY_SERVE_HAPROXY_NBTHREAD": "1",
        # A HAProxy that has died is replaced at the third check, and it is the only one here.
        "RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "0.5",
        "RAY_SERVE_HAPROXY_MAXCONN": str(_LOCAL_CONNECTIONS),
        "RAY_SERVE_HAPROXY_STATS_PORT": str(stats_port),
        "RAY_SERVE_HAPROXY_METRICS_PORT": str(metrics_port),
        "RAY_SERVE_HAPROXY_CONFIG_FILE_LOC": f"{haproxy}/haproxy.cfg",
        "RAY_SERVE_HAPROXY_SOCKET_PATH": f"{haproxy}/admin.sock",
        "RAY_SERVE_HAPROXY_METRICS_SOCKET_PATH": f"{haproxy}/metrics.sock",
        "RAY_SERVE_HAPROXY_SERVER_STATE_BASE": haproxy,
        "RAY_SERVE_HAPROXY_SERVER_STATE_FILE": f"{haproxy}/server-state",
        "RAY_SERVE_FALLBACK_PROXY_HTTP_PORT": str(fallback_http),
        "RAY_SERVE_FALLBACK_PROXY_GRPC_PORT": str(fallback_grpc),
        "RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT": str(http[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT": str(http[-1]),
        "RAY_SERVE_DIRECT_INGRESS_MIN_GRPC_PORT": str(grpc[0]),
        "RAY_SERVE_DIRECT_INGRESS_MAX_GRPC_PORT": str(grpc[-1]),
    }
