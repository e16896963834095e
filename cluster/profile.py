"""Profiles: Serve configurations with the models, sizes and limits of one kind of cluster.

A profile is checked when it is loaded, before anything starts. It names models and relative paths;
`localise` turns it into one that this machine can run. One that `extends` another is read as that
one with what it says itself. Knows no running cluster.
"""

import os
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, Field, ValidationError

from cluster.config import AppConfig
from cluster.fit_check import check_engine
from cluster.local.state import State
from cluster.overlay import OverlayError, overlaid
from cluster.serve_fields import ApplicationFields, DeploymentFields, ServeFields, TopFields
from cluster.stages import MODEL_STAGES
from cluster.validation import field_names, mistakes
from deployments.autoscaling.policy import ScalingConfig
from deployments.batching.batcher import BatchLimits
from deployments.batching.search_limits import SearchLimits
from deployments.engine.base import EngineConfig, cores
from deployments.tenants.plans import Plans

Resolve = Callable[[str], str]

_DIRECTORY = Path(__file__).parent / "profiles"
_EXTENDS = "extends"
# Fields of `args` whose relative paths lie in the state directory.
_PATHS = (
    ("router", "keys_file"),
    ("router", "control", "directory"),
    ("router", "control", "database_url_file"),
    ("router", "control", "redis_url_file"),
    ("router", "embed_cache", "directory"),
    ("router", "token_id_vocabulary"),
    ("index", "directory"),
    ("index", "database_url_file"),
    ("index", "api_key_file"),
)


class ProfileError(Exception):
    """There is no such profile, or it has mistakes; the message has a line for each."""


class _AutoscalingPolicy(ServeFields):
    policy_function: str
    # Serve reads them only in its controller, where an error stops all scaling.
    policy_kwargs: ScalingConfig


class _Deployment(DeploymentFields):
    name: Literal["Router", "Embedder", "Index", "Reranker"]


class _Application(ApplicationFields):
    args: AppConfig
    deployments: list[_Deployment]
    autoscaling_policy: _AutoscalingPolicy | None = None


class _Profile(TopFields):
    applications: list[_Application] = Field(min_length=1, max_length=1)


_USER_CONFIGS: dict[str, type[BaseModel]] = {
    "Router": Plans,
    "Index": SearchLimits,
    **{names.deployment: BatchLimits for names in MODEL_STAGES.values()},
}


def profile_names() -> list[str]:
    return sorted(path.stem for path in _DIRECTORY.glob("*.yaml"))


def load_profile(name: str) -> dict[str, Any]:
    """Load the profile of that name, or the file at that path, and check it.

    Raises ProfileError, and PlacementError for an engine that does not fit its replica's GPUs.
    """
    path, profile = _read(name)
    _validate(path, _Profile, profile)
    app = application(profile)
    for deployment in app["deployments"]:
        if model := _USER_CONFIGS.get(deployment["name"]):
            part = f"{deployment['name']}.user_config."
            _validate(path, model, deployment.get("user_config") or {}, part)
    _check_engines(app)
    return profile


def _read(name: str, beside: Path | None = None) -> tuple[Path, dict[str, Any]]:
    """Return a profile's file and its content, over the profile that it extends.

    A file that is named in another is looked for in that one's directory first, `beside` it.
    """
    places = [_DIRECTORY / f"{name}.yaml", Path(name)]
    if beside is not None:
        places.insert(0, beside / name)
    path = next((place for place in places if place.is_file()), None)
    if path is None:
        raise ProfileError(
            f"there is no profile '{name}': take one of {', '.join(profile_names())}, or a file"
        )
    try:
        profile = yaml.safe_load(path.read_text())
    except yaml.YAMLError as error:
        raise ProfileError(f"{path}: not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(profile, dict) or _EXTENDS not in profile:
        return path, profile
    try:
        _, base = _read(str(profile.pop(_EXTENDS)), path.parent)
        return path, overlaid(base, profile)
    except OverlayError as error:
        raise ProfileError(f"{path.name}: {error}") from error
    except RecursionError:
        raise ProfileError(f"{path.name}: {_EXTENDS}: a profile cannot extend itself") from None


def _validate(path: Path, model: type[BaseModel], data: object, part: str = "") -> None:
    """Raise ProfileError, with a line for each mistake, unless `data` is a `model`."""
    try:
        model.model_validate(data)
    except ValidationError as error:
        known = field_names(model.model_json_schema())
        lines = mistakes(error, data, known).splitlines()
        raise ProfileError("\n".join(f"{path.name}: {part}{line}" for line in lines)) from error


def _check_engines(app: dict[str, Any]) -> None:
    config = AppConfig.model_validate(app["args"])
    engines = {
        names.deployment: getattr(config, names.field).engine for names in MODEL_STAGES.values()
    }
    for deployment in app["deployments"]:
        if engine := engines.get(deployment["name"]):
            check_engine(deployment, engine)


def application(profile: dict[str, Any]) -> dict[str, Any]:
    """Return the one application of a profile, not copied: changes to it change the profile."""
    found: dict[str, Any]
    [found] = profile["applications"]
    return found


def models(profile: dict[str, Any]) -> list[tuple[str, str | None]]:
    """Return the names of the models, each with its revision if the profile pins one."""
    args = application(profile)["args"]
    engines = [args[names.field]["engine"] for names in MODEL_STAGES.values()]
    return [(engine["model"], engine.get("revision")) for engine in engines]


def localise(
    profile: dict[str, Any], state: State, resolve: Resolve, http_port: int | None
) -> dict[str, Any]:
    """Return a copy with models resolved to loadable ones and paths made absolute."""
    # The nodes of a local cluster share the machine's ports.
    local = profile | {"proxy_location": "HeadOnly"}
    app = application(profile)
    args: dict[str, Any] = deepcopy(app["args"])
    for names in MODEL_STAGES.values():
        engine = args[names.field]["engine"]
        engine["model"] = _absolute(resolve(engine["model"]))
        if engine["process"] == "inline":
            engines = EngineConfig.model_validate(engine).engines()
            engine.setdefault("threads", _threads(app, names.deployment, engines))
    for *parents, field in _PATHS:
        section = args
        for name in parents:
            section = section.get(name, {})
        if section.get(field):
            section[field] = str(state.directory / section[field])
    local["applications"] = [app | {"args": args}]
    if http_port is not None:
        local["http_options"] = local["http_options"] | {"port": http_port}
    return local


def _threads(app: dict[str, Any], deployment: str, engines: int) -> int:
    """Divide this machine's cores among the engines of the most replicas that the deployment may
    have."""
    [found] = [one for one in app["deployments"] if one["name"] == deployment]
    scaling = found.get("autoscaling_config", {})
    replicas = int(scaling.get("max_replicas") or found["num_replicas"])
    return max(1, cores() // (replicas * engines))


def _absolute(model: str) -> str:
    """Make a directory absolute, since replicas run elsewhere; leave a Hub id as it is."""
    return os.path.abspath(model) if os.path.isdir(model) else model
