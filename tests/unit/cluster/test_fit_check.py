"""A profile is refused unless each replica gets the GPUs its engine needs, on nodes that exist."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from cluster.fit_check import (
    Machine,
    PlacementError,
    check_engine,
    check_fits,
    check_fits_machine,
    this_machine,
)
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


@pytest.mark.parametrize(
    ("devices", "gpus"),
    [
        ([], 0),
        (["nvidia0", "nvidia1", "nvidiactl", "nvidia-uvm"], 2),
        (["dxg"], None),
        (["kfd", "dri"], None),
    ],
)
def test_the_gpus_of_a_machine_are_its_devices(
    devices: list[str], gpus: int | None, tmp_path: Path
) -> None:
    for name in devices:
        (tmp_path / name).touch()
    assert this_machine(tmp_path).gpus == gpus


def _with(options: dict[str, Any], **fields: Any) -> dict[str, Any]:
    return {"name": "Reranker", "ray_actor_options": options} | fields


@pytest.mark.parametrize(
    "deployment",
    [
        _with({"num_cpus": 2}, num_replicas=2),
        _with({"num_cpus": 4}, autoscaling_config={"min_replicas": 1, "max_replicas": 9}),
        _with({"num_cpus": 0, "num_gpus": 1}),
        _with({"label_selector": {"ray.io/accelerator-type": "L4", "winnow/gpu": "!l4"}}),
        {"name": "Reranker"},
    ],
)
def test_what_a_machine_alone_can_hold(deployment: dict[str, Any]) -> None:
    check_fits_machine([_with({"num_cpus": 0}, name="Router"), deployment], Machine(4, 1))


@pytest.mark.parametrize(
    ("deployment", "said"),
    [
        (_with({"num_cpus": 2}, num_replicas=3), "num_cpus: .*ask for 6 in all.* has 4: ask for"),
        (_with({}, num_replicas=5), "num_cpus: .*ask for 5 in all"),
        (_with({"num_cpus": 3}, autoscaling_config={"min_replicas": 2}), "num_cpus"),
        (_with({"num_cpus": 0, "num_gpus": 0.5}, num_replicas=3), "num_gpus: .*1.5 in all.* has 1"),
        (_with({"label_selector": {"winnow/role": "gpu"}}), "label_selector: .*--nodes"),
        (_with({"resources": {"disk": 1}}), "resources: .*remove them"),
    ],
)
def test_what_would_wait_for_ever_on_it_is_refused(deployment: dict[str, Any], said: str) -> None:
    with pytest.raises(PlacementError, match=f"^Reranker: ray_actor_options.{said}"):
        check_fits_machine([deployment], Machine(4, 1))


def test_gpus_that_are_not_known_are_not_counted() -> None:
    check_fits_machine([_with({"num_gpus": 8})], Machine(4, None))
