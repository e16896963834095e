"""Groups of nodes that Ray's autoscaler sizes on this machine, for `winnow up --nodes`.

The nodes are processes (local/local_nodes.py), and their CPUs and GPUs are only counted. On
Kubernetes the chart has such groups (k8s/chart). Knows no replicas.
"""

from pathlib import Path

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from cluster.validation import field_names, mistakes

ROLE_LABEL = "winnow/role"
HEAD_ROLE = "head"


class WorkerGroup(BaseModel):
    """A group of equal worker nodes. `role` and `labels` are Ray labels for the deployments'
    selectors."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    role: str
    cpu: int = Field(ge=0)
    gpus: int = Field(default=0, ge=0)
    labels: dict[str, str] = {}
    min_replicas: int = Field(ge=0)
    max_replicas: int = Field(gt=0)
    idle_timeout_s: int = Field(default=120, gt=0)

    def ray_labels(self) -> dict[str, str]:
        """Return the Ray labels of each node."""
        return self.labels | {ROLE_LABEL: self.role}


# Every cluster has it: for what needs no CPU.
HEAD = WorkerGroup(name="head", role=HEAD_ROLE, cpu=0, min_replicas=1, max_replicas=1)


class ClusterSpec(BaseModel):
    """The groups of a cluster. With `packed`, replicas fill the present nodes, so that others can
    be removed; else they are spread."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    packed: bool = False
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
