"""Environment variables of every Ray process in a Kubernetes pod."""

from cluster import haproxy
from cluster.environment import SERVE_ENVIRONMENT, packing_environment

# Each connection takes two file descriptors of HAProxy, which will not start without them.
_CONNECTIONS = 20_000
# Where pip puts programs in the image.
_PROGRAMS = "/usr/local/bin"


def pod_environment(packed: bool) -> dict[str, str]:
    """For a Kubernetes pod. KubeRay sets Ray's token variables from `authOptions`."""
    shared = {name: value for name, value in SERVE_ENVIRONMENT.items() if name != "RAY_AUTH_MODE"}
    return (
        shared
        | packing_environment(packed)
        | {
            haproxy.BINARY_VARIABLE: f"{_PROGRAMS}/{haproxy.PROGRAM}",
            "RAY_SERVE_HAPROXY_MAXCONN": str(_CONNECTIONS),
        }
    )
