"""A profile is refused unless each replica gets the GPUs its engine needs, on nodes that exist."""

from typing import Any

import pytest
import yaml

from cluster.fit_check import PlacementError, check_engine, check_fits
from cluster.node_groups import WorkerGroup
from cluster.profile import load_profile, profile_names
from deployments.engine.base import EngineConfig


def _engine(**fields: Any) -> EngineConfig:
    usual: dict[str, Any] = {
        "model": "m",
        "process": "separate",
        "dtype": "bfloat16",
        "max_model_len": 1,
        "max_num_batched_tokens": 1,
        "max_num_seqs": 1,
    }
    return EngineConfig(**usual | fields)


def _deployment(gpus: float | None, **fields: Any) -> dict[str, Any]:
    options = {} if gpus is None else {"ray_actor_options": {"num_gpus": gpus}}
    return {"name": "Reranker"} | options | fields


_SHARED = {"gpu_memory_utilization": 0.5, "kv_cache_memory_bytes": 1}


@pytest.mark.parametrize(
    ("gpus", "engine"),
    [
        (None, _engine(process="inline")),
        (1, _engine()),
        (2, _engine(tensor_parallel_size=2)),
        (0.5, _engine(**_SHARED)),
        (1, _engine(process="inline", copies=4, kv_cache_memory_bytes=1)),
    ],
)
def test_an_engine_that_fits_its_gpus_is_taken(gpus: float | None, engine: EngineConfig) -> None:
    check_engine(_deployment(gpus), engine)


@pytest.mark.parametrize(
    ("deployment", "engine", "said"),
    [
        (_deployment(1), _engine(tensor_parallel_size=2), "size is 2 and num_gpus 1:"),
        (_deployment(None), _engine(tensor_parallel_size=2), "num_gpus 0"),
        (_deployment(2), _engine(), "size is 1 and num_gpus 2"),
        (_deployment(1.5), _engine(), "num_gpus 1.5"),
        (_deployment(2), _engine(tensor_parallel_size=2, process="inline"), "process: separate"),
        (_deployment(0.5), _engine(kv_cache_memory_bytes=1), "gpu_memory_utilization is 0.9"),
        (_deployment(0.5), _engine(gpu_memory_utilization=0.4), "kv_cache_memory_bytes"),
        (_deployment(1), _engine(process="inline", copies=2), "kv_cache_memory_bytes"),
        (_deployment(2, placement_group_bundles=[{"GPU": 1}]), _engine(), "placement group"),
    ],
)
def test_one_that_does_not_is_refused_by_name(
    deployment: dict[str, Any], engine: EngineConfig, said: str
) -> None:
    with pytest.raises(PlacementError, match=f"^Reranker: .*{said}"):
        check_engine(deployment, engine)


def test_a_profile_is_refused_before_anything_starts(tmp_path: Any) -> None:
    profile = load_profile("production")
    args = profile["applications"][0]["args"]
    args["reranker"]["engine"]["tensor_parallel_size"] = 2
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(profile))
    with pytest.raises(PlacementError, match="Reranker"):
        load_profile(str(file))


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_is_one_that_fits(name: str) -> None:
    load_profile(name)


_GROUPS = [
    WorkerGroup(
        name="large",
        role="gpu",
        labels={"winnow/gpu": "h100"},
        cpu=8,
        memory="1Gi",
        gpus=2,
        min_replicas=0,
        max_replicas=1,
    )
]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_gpus": 2, "num_cpus": 8},
        {"label_selector": {"winnow/gpu": "h100", "winnow/role": "gpu"}},
        {"label_selector": {"winnow/gpu": "!l4", "winnow/role": "in(gpu, router)"}},
    ],
)
def test_a_replica_that_a_node_group_takes(options: dict[str, Any]) -> None:
    check_fits([{"name": "Reranker", "ray_actor_options": options}], _GROUPS)


@pytest.mark.parametrize(
    "options",
    [
        {"num_gpus": 4},
        {"num_cpus": 16},
        {"label_selector": {"winnow/gpu": "l4"}},
        {"label_selector": {"winnow/role": "router"}},
    ],
)
def test_a_replica_that_none_takes_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(PlacementError, match=r"^Reranker: no node group"):
        check_fits([{"name": "Reranker", "ray_actor_options": options}], _GROUPS)
