"""The local profile with paced engines, its model stages sized by Winnow's autoscaling policy."""

from typing import Any

from cluster.profile import application
from cluster.stages import MODEL_STAGES
from loadtest.paced import TOKENS_PER_S
from loadtest.uncached import uncached_profile

_MODEL_DEPLOYMENTS = {names.deployment: stage for stage, names in MODEL_STAGES.items()}
_RULES = {
    "replica_tokens_per_s": TOKENS_PER_S,
    "start_up_s": 5,
    "drain_s": 5,
    "trend_s": 0,
    "up_delay_s": 2,
    "down_delay_s": 6,
}


def scaled_profile(most: int) -> dict[str, Any]:
    """Make the profile; each model stage has 1 to `most` replicas."""
    profile = uncached_profile()
    app = application(profile)
    app["import_path"] = "loadtest.paced:winnow"
    app["autoscaling_policy"] = {
        "policy_function": "deployments.autoscaling.serve_policy:TokenScaling",
        "policy_kwargs": {
            "stages": {
                name: {"stage": stage} | _RULES for name, stage in _MODEL_DEPLOYMENTS.items()
            }
        },
    }
    for deployment in app["deployments"]:
        if deployment["name"] == "Index":
            continue
        del deployment["num_replicas"]
        deployment["autoscaling_config"] = {
            "min_replicas": 1,
            "max_replicas": most if deployment["name"] in _MODEL_DEPLOYMENTS else 1,
            "metrics_interval_s": 1,
            "look_back_period_s": 3,
            "upscale_delay_s": 0,
            "downscale_delay_s": 0,
        }
    return profile | {"applications": [app]}
