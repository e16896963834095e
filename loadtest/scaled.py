"""The local profile with engines that only keep time, its model stages sized by Winnow's policy."""

from typing import Any, Literal

from cluster.profile import application
from loadtest.paced import TOKENS_PER_S
from loadtest.uncached import uncached_profile

Stage = Literal["embed", "rerank"]

STAGES: dict[Stage, str] = {"embed": "Embedder", "rerank": "Reranker"}

_RULES = {
    "replica_tokens_per_s": TOKENS_PER_S,
    "start_up_s": 5,
    "drain_s": 5,
    "trend_s": 0,
    "up_delay_s": 2,
    "down_delay_s": 6,
}


def scaled_profile(most: int) -> dict[str, Any]:
    """Each model stage has 1 to `most` replicas."""
    profile = uncached_profile()
    app = application(profile)
    app["import_path"] = "loadtest.paced:winnow"
    app["autoscaling_policy"] = {
        "policy_function": "deployments.autoscaling.serve_policy:TokenScaling",
        "policy_kwargs": {
            "stages": {name: {"stage": stage} | _RULES for stage, name in STAGES.items()}
        },
    }
    for deployment in app["deployments"]:
        if deployment["name"] == "Index":
            continue
        del deployment["num_replicas"]
        deployment["autoscaling_config"] = {
            "min_replicas": 1,
            "max_replicas": most if deployment["name"] in STAGES.values() else 1,
            "metrics_interval_s": 1,
            "look_back_period_s": 3,
            "upscale_delay_s": 0,
            "downscale_delay_s": 0,
        }
    return profile | {"applications": [app]}
