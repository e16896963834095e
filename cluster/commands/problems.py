"""Problems that keep a cluster here from being ready, in a line each, for `up` and `status`."""

from typing import Any

from cluster.local.serve_api import ApplicationState
from cluster.stages import STAGE_OF_DEPLOYMENT


def problems(deployed: ApplicationState, readiness: dict[str, Any] | None) -> list[str]:
    """Return what Serve says, and what the stages say that Serve has nothing to say of."""
    said = {one.name for one in deployed.with_problems()}
    stages = (readiness or {"stages": {}})["stages"]
    unready = [
        f"{deployment}: {stages[stage]['detail'] or 'not ready'}"
        for deployment, stage in STAGE_OF_DEPLOYMENT.items()
        if deployment not in said and stage in stages and not stages[stage]["ready"]
    ]
    lines = deployed.problems() + unready
    if deployed.deployments or not (readiness and readiness["ready"]):
        return lines
    # Serve lists no deployments of an application that could not be built.
    return [f"{line} (the version before serves)" for line in lines]
