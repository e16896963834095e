"""The fields that a profile may set are those of the Serve that is installed."""

import pytest
from pydantic import BaseModel
from ray.serve import schema
from ray.serve.config import AutoscalingConfig

from cluster import serve_fields
from cluster.serve_fields import (
    ActorFields,
    ApplicationFields,
    AutoscalingFields,
    DeploymentFields,
    HttpFields,
    LoggingFields,
    TopFields,
)

# Fields with types of Winnow's own, in `cluster.profile`.
_OURS = {"name", "args", "deployments", "autoscaling_policy", "applications"}


@pytest.mark.parametrize(
    ("ours", "serves"),
    [
        (TopFields, schema.ServeDeploySchema),
        (ApplicationFields, schema.ServeApplicationSchema),
        (DeploymentFields, schema.DeploymentSchema),
        (AutoscalingFields, AutoscalingConfig),
        (ActorFields, schema.RayActorOptionsSchema),
        (HttpFields, schema.HTTPOptionsSchema),
        (LoggingFields, schema.LoggingConfig),
    ],
)
def test_they_are_serves_own(ours: type[BaseModel], serves: type[BaseModel]) -> None:
    assert set(ours.model_fields) - _OURS == set(serves.model_fields) - _OURS


def test_none_is_left_out_of_the_comparison() -> None:
    written = {
        name
        for name, one in vars(serve_fields).items()
        if isinstance(one, type) and issubclass(one, serve_fields.ServeFields)
    }
    assert len(written - {"ServeFields"}) == 7
