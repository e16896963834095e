"""The id that Serve gave to the replica of this process."""

import os

from ray import serve
from ray.serve.exceptions import RayServeException


def own_id() -> str:
    """Return the id, which is part of the replica's name in Ray's dashboard; the process id outside
    of Serve."""
    try:
        return serve.get_replica_context().replica_id.unique_id
    except RayServeException:
        return str(os.getpid())
