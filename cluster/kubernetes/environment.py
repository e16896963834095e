"""Environment variables of every Ray process in a Kubernetes pod."""

from cluster import haproxy
from cluster.environment import SERVE_ENVIRONMENT, packing_environment

# HAProxy needs two file descriptors a connection, and does not start without them.
_CONNECTIONS = 20_000
# The directory of programs in the image.
_PROGRAMS = "/usr/local/bin"


def pod_environment(packed: bool) -> dict[str, str]:
    """Return the variables of a pod, without Ray's token: KubeRay sets it from `authOptions`."""
    shared = {name: value for name, value in SERVE_ENVIRONMENT.items() if name != "RAY_AUTH_MODE"}
    return (
        shared
        | packing_environment(packed)
        | {
            haproxy.BINARY_VARIABLE: f"{_PROGRAMS}/{haproxy.PROGRAM}",
            "RAY_SERVE_HAPROXY_MAXCONN": str(_CONNECTIONS),
        }
    )
