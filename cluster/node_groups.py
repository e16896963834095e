"""What a cluster stands on: its head and the groups of worker nodes that Ray's autoscaler sizes.

One file says it (k8s/cluster.yaml). `winnow render` makes pods of it (rayservice.py), and `winnow
up --nodes` processes of this machine (local_nodes.py).
"""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field

ROLE_LABEL = "winnow/role"


class PodSize(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: int = Field(gt=0)
    memory: str
    gpus: int = Field(default=0, ge=0)


class WorkerGroup(PodSize):
    """`role` and `labels` are Ray labels that deployments select by; `node_selector` is for
    Kubernetes, say for the type of GPU."""

    name: str
    role: str
    labels: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(gt=0)
    idle_timeout_s: int = Field(default=120, gt=0)

    def ray_labels(self) -> dict[str, str]:
        """Of each of its nodes."""
        return self.labels | {ROLE_LABEL: self.role}


class Redis(BaseModel):
    """`address` is host:port; `password_secret` holds redis_password, if it asks for one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    password_secret: str | None = None


class ClusterSpec(BaseModel):
    """Secrets are named and made by hand; `qdrant_secret` only where Qdrant asks for a key. With
    `packed` replicas fill the nodes there are, so that others may leave; else they are spread.

    Without a `gcs_redis` the loss of the head is the loss of the cluster's state: all starts anew.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    image: str
    ray_version: str
    keys_secret: str
    control_secret: str
    ray_token_secret: str
    qdrant_secret: str | None = None
    gcs_redis: Redis | None = None
    packed: bool = False
    head: PodSize
    groups: tuple[WorkerGroup, ...] = Field(min_length=1)


def load_cluster_spec(path: Path) -> ClusterSpec:
    return ClusterSpec.model_validate(yaml.safe_load(path.read_text()))
