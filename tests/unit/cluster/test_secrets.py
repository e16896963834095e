"""Secrets come from files or from the environment: neither a profile nor a command takes one."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel, ValidationError

from cluster.__main__ import app
from cluster.config import AppConfig
from cluster.node_groups import ClusterSpec
from cluster.profile import ProfileError, load_profile
from cluster.validation import field_names
from deployments.batching.batcher import BatchLimits
from deployments.batching.search_limits import SearchLimits
from deployments.config import IndexConfig
from deployments.tenants.plans import Plans

_OF_SECRETS = re.compile(
    r"(^|_)(keys?|passwords?|secrets?|credentials?|database_url|redis_url)(_|$)"
)
# A file, the name of a Kubernetes secret, or a flag that shows none.
_ELSEWHERE = re.compile(r"(_file|_secret)$")


def _options(command: Any) -> Iterator[str]:
    """The options of a command of click, or of those of a group."""
    for parameter in command.params:
        if parameter.param_type_name == "option":
            yield from (name.lstrip("-").replace("-", "_") for name in parameter.opts)
    for below in getattr(command, "commands", {}).values():
        yield from _options(below)


@pytest.mark.parametrize("model", [AppConfig, ClusterSpec, Plans, BatchLimits, SearchLimits])
def test_no_setting_is_a_secret(model: type[BaseModel]) -> None:
    names = field_names(model.model_json_schema())
    secrets = {name for name in names if _OF_SECRETS.search(name)}
    assert {name for name in secrets if not _ELSEWHERE.search(name)} == set()
    if model is AppConfig:
        assert secrets >= {"keys_file", "database_url_file", "redis_url_file", "api_key_file"}


def test_no_option_is_a_secret() -> None:
    names = set(_options(typer.main.get_command(app)))
    secrets = {name for name in names if _OF_SECRETS.search(name)}
    assert secrets == {"api_key_file"}


@pytest.mark.parametrize("url", ["https://user:pw@qdrant:6333", "http://token@qdrant"])
def test_a_url_with_a_password_is_refused(url: str) -> None:
    with pytest.raises(ValidationError, match="put the cluster's key into api_key_file"):
        IndexConfig(engine="qdrant", url=url)


def test_a_key_in_a_profile_is_refused(tmp_path: Path) -> None:
    profile = tmp_path / "profile.yaml"
    text = Path("cluster/profiles/local.yaml").read_text()
    profile.write_text(text.replace("      index:\n", "      index:\n        api_key: abc\n"))
    with pytest.raises(ProfileError, match="api_key"):
        load_profile(str(profile))
