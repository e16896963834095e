"""Profiles: Serve configurations with the models, sizes and limits of one kind of cluster.

A profile names models and relative paths; `localise` makes of it what this machine can run. What a
profile may say is checked here, before anything starts.
"""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import yaml

from cluster.config import AppConfig
from cluster.fit_check import check_engine
from cluster.local.state import State
from deployments.autoscaling.policy import ScalingConfig
from deployments.tenants.plans import Plans

Resolve = Callable[[str], str]

_DIRECTORY = Path(__file__).parent / "profiles"
# The stages with a model: their part of the configuration, and their deployment.
_STAGES = {"embedder": "Embedder", "reranker": "Reranker"}
# Relative ones lie in the state directory.
_PATHS = (
    ("router", "keys_file"),
    ("router", "control", "directory"),
    ("router", "control", "database_url_file"),
    ("router", "control", "redis_url_file"),
    ("router", "embed_cache", "directory"),
    ("router", "token_id_vocabulary"),
    ("index", "directory"),
    ("index", "api_key_file"),
)


class UnknownProfileError(Exception):
    pass


def profile_names() -> list[str]:
    return sorted(path.stem for path in _DIRECTORY.glob("*.yaml"))


def load_profile(name: str) -> dict[str, Any]:
    """The profile of that name, or the file at that path; all that it says is checked.

    Raises UnknownProfileError, PlacementError, pydantic's ValidationError.
    """
    path = _DIRECTORY / f"{name}.yaml"
    if not path.exists():
        path = Path(name)
    if not path.is_file():
        raise UnknownProfileError(
            f"there is no profile '{name}': take one of {', '.join(profile_names())}, or a file"
        )
    profile: dict[str, Any] = yaml.safe_load(path.read_text())
    app = application(profile)
    config = AppConfig.model_validate(app["args"])
    engines = {"Embedder": config.embedder.engine, "Reranker": config.reranker.engine}
    for deployment in app["deployments"]:
        if deployment["name"] == "Router":
            Plans.model_validate(deployment.get("user_config", {}))
        if engine := engines.get(deployment["name"]):
            check_engine(deployment, engine)
    if policy := app.get("autoscaling_policy"):
        # Serve reads it only in its controller, where an error stops all scaling.
        ScalingConfig.model_validate(policy["policy_kwargs"])
    return profile


def application(profile: dict[str, Any]) -> dict[str, Any]:
    """The one application of a profile: itself, so that what is changed in it is changed there."""
    found: dict[str, Any]
    [found] = profile["applications"]
    return found


def models(profile: dict[str, Any]) -> list[tuple[str, str | None]]:
    """The models it needs: names, and revisions where it pins them."""
    args = application(profile)["args"]
    engines = [args[stage]["engine"] for stage in _STAGES]
    return [(engine["model"], engine.get("revision")) for engine in engines]


def localise(
    profile: dict[str, Any], state: State, resolve: Resolve, http_port: int | None
) -> dict[str, Any]:
    """A copy with models resolved to what can be loaded and paths made absolute."""
    # The nodes of a local cluster share the machine's ports.
    local = profile | {"proxy_location": "HeadOnly"}
    app = application(profile)
    args: dict[str, Any] = deepcopy(app["args"])
    for stage, deployment in _STAGES.items():
        engine = args[stage]["engine"] | {
            "model": _absolute(resolve(args[stage]["engine"]["model"]))
        }
        if engine["process"] == "inline":
            engine.setdefault("threads", _threads(app, deployment))
        args[stage]["engine"] = engine
    for *parents, field in _PATHS:
        part = args
        for name in parents:
            part = part.get(name, {})
        if part.get(field):
            part[field] = str(state.directory / part[field])
    local["applications"] = [app | {"args": args}]
    if http_port is not None:
        local["http_options"] = local["http_options"] | {"port": http_port}
    return local


def _threads(app: dict[str, Any], deployment: str) -> int:
    """This machine's cores, shared by the stage's replicas, as many as there may be."""
    [found] = [one for one in app["deployments"] if one["name"] == deployment]
    scaling = found.get("autoscaling_config", {})
    replicas = int(scaling.get("max_replicas") or found["num_replicas"])
    return max(1, (os.cpu_count() or 1) // replicas)


def _absolute(model: str) -> str:
    """Replicas do not run where the command did; what is no directory here is a Hub id."""
    return os.path.abspath(model) if os.path.isdir(model) else model
