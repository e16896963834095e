"""The nodes of a cluster: its head, and the worker groups that Ray's autoscaler sizes.

Described in k8s/cluster.yaml. `winnow render` turns them into pods (kubernetes/rayservice.py),
`winnow up --nodes` into processes of this machine (local/local_nodes.py). Knows no replicas.
"""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.validation import field_names, mistakes

ROLE_LABEL = "winnow/role"


class PodSize(BaseModel):
    """CPUs, memory (a Kubernetes quantity) and GPUs of a pod."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    cpu: int = Field(gt=0)
    memory: str
    gpus: int = Field(default=0, ge=0)


class WorkerGroup(PodSize):
    """A group of equal worker nodes.

    `role` and `labels` are Ray labels for the deployments' selectors. `node_selector` is that of
    the Kubernetes pods, for example for a type of GPU.
    """

    name: str
    role: str
    labels: dict[str, str] = {}
    node_selector: dict[str, str] = {}
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(gt=0)
    idle_timeout_s: int = Field(default=120, gt=0)

    def ray_labels(self) -> dict[str, str]:
        """Return the Ray labels of each node."""
        return self.labels | {ROLE_LABEL: self.role}


class Redis(BaseModel):
    """A Redis at host:port; the secret `password_secret`, if any, holds redis_password."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    address: str
    password_secret: str | None = None


class ClusterSpec(BaseModel):
    """A cluster: its image, its nodes, and the names of secrets, which are made by hand.

    `qdrant_secret` is for a profile whose store is a Qdrant with a key. With `packed`, replicas
    fill the present nodes, so that others can be removed; else they are spread. Without
    `gcs_redis`, losing the head loses the cluster's state, and everything restarts.
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


class SpecError(Exception):
    """The file of a cluster has mistakes; the message has a line for each."""


def load_cluster_spec(path: Path) -> ClusterSpec:
    """Raises SpecError."""
    try:
        spec = yaml.safe_load(path.read_text())
        return ClusterSpec.model_validate(spec)
    except yaml.YAMLError as error:
        raise SpecError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        known = field_names(ClusterSpec.model_json_schema())
        lines = mistakes(error, spec, known).splitlines()
        raise SpecError("\n".join(f"{path.name}: {line}" for line in lines)) from error
