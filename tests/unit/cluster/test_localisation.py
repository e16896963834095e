"""Localisation of a profile: its paths, models and threads become those of this machine."""

from pathlib import Path
from typing import Any

import pytest

from cluster.local.state import State
from cluster.profile import application, load_profile, localise


def _local(**engine: Any) -> dict[str, Any]:
    """The local profile with another embedder."""
    profile = load_profile("local")
    profile["applications"][0]["args"]["embedder"]["engine"] |= engine
    return profile


def _localised(profile: dict[str, Any], directory: Path) -> dict[str, Any]:
    def resolve(model: str) -> str:
        return model

    args: dict[str, Any] = application(localise(profile, State(directory), resolve, 8123))["args"]
    return args


def test_a_relative_model_directory_is_made_absolute(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    args = _localised(_local(model="models"), tmp_path)
    assert args["embedder"]["engine"]["model"] == str(tmp_path / "models")


def test_a_hub_id_stays_what_it_is(tmp_path: Path) -> None:
    args = _localised(_local(model="a/b"), tmp_path)
    assert args["embedder"]["engine"]["model"] == "a/b"


def test_relative_paths_lie_in_the_state_directory(tmp_path: Path) -> None:
    profile = load_profile("local")
    profile["applications"][0]["args"]["index"]["api_key_file"] = "/etc/key"
    args = _localised(profile, tmp_path)
    assert args["router"]["keys_file"] == str(tmp_path / "keys.json")
    assert args["router"]["embed_cache"]["directory"] == str(tmp_path / "embed_cache")
    assert args["index"]["directory"] == str(tmp_path / "index")
    assert args["index"]["api_key_file"] == "/etc/key"


@pytest.mark.parametrize(
    ("cores", "replicas", "threads"), [(1, 2, 1), (2, 1, 2), (2, 2, 1), (16, 2, 8)]
)
def test_replicas_of_a_stage_share_the_cores(
    cores: int, replicas: int, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: cores)
    profile = load_profile("local")
    for stage in ("embedder", "reranker"):
        application(profile)["args"][stage]["engine"]["copies"] = None
    for deployment in application(profile)["deployments"]:
        deployment["num_replicas"] = replicas
    args = _localised(profile, tmp_path)
    assert [args[stage]["engine"]["threads"] for stage in ("embedder", "reranker")] == [threads] * 2


@pytest.mark.parametrize(("copies", "threads"), [(2, 4), ("auto", 2), (16, 1)])
def test_copies_of_an_engine_share_the_cores(
    copies: int | str, threads: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    args = _localised(_local(copies=copies), tmp_path)
    assert args["embedder"]["engine"]["threads"] == threads


def test_a_number_of_threads_that_is_given_stays(tmp_path: Path) -> None:
    assert _localised(_local(threads=3), tmp_path)["embedder"]["engine"]["threads"] == 3


def test_a_cache_that_is_off_needs_no_directory(tmp_path: Path) -> None:
    profile = load_profile("local")
    profile["applications"][0]["args"]["router"]["embed_cache"] = {"max_bytes": 0}
    assert _localised(profile, tmp_path)["router"]["embed_cache"] == {"max_bytes": 0}


def test_an_inline_engine_gets_the_cores_that_the_most_replicas_leave(tmp_path: Path) -> None:
    profile = _local()
    [embedder] = [d for d in application(profile)["deployments"] if d["name"] == "Embedder"]
    del embedder["num_replicas"]
    embedder["autoscaling_config"] = {"min_replicas": 1, "max_replicas": 10_000}
    args = _localised(profile, tmp_path)
    assert args["embedder"]["engine"]["threads"] == 1
