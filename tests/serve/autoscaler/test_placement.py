"""Replicas land where the profile puts them: on a share of a GPU, on several, apart, by label."""

import re
import time
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

import httpx
import pytest

from cluster.local.nodes_api import Node
from loadtest.nodes.cluster import AutoscaledCluster

_PATIENCE_S = 180.0


@pytest.fixture
def placed(stand: AutoscaledCluster) -> Iterator[dict[str, list[Node]]]:
    """A second Winnow beside the first: the nodes of its replicas, by deployment."""
    serve = stand.serve()
    first = serve.configurations()
    serve.deploy({"applications": [*first, _second(first[0])]})
    until = time.monotonic() + _PATIENCE_S
    while (state := serve.application("placed")).status != "RUNNING":
        assert time.monotonic() < until, state
        time.sleep(1)
    alive = {node.id: node for node in stand.nodes().alive()}
    yield {one.name: [alive[id] for id in one.nodes] for one in state.deployments}
    serve.deploy({"applications": first})


def _second(app: dict[str, Any]) -> dict[str, Any]:
    second = deepcopy(app) | {"name": "placed", "route_prefix": "/placed"}
    del second["autoscaling_policy"]
    engine = second["args"]["reranker"]["engine"]
    engine |= {"tensor_parallel_size": 2, "process": "separate", "copies": None}
    options = {
        "Embedder": _gpu(0.5, "winnow/role", "shared"),
        "Index": _gpu(0.5, "winnow/role", "shared"),  # as an engine would
        "Reranker": _gpu(2, "winnow/gpu", "large"),
    }
    for deployment in second["deployments"]:
        deployment.pop("autoscaling_config", None)
        deployment["num_replicas"] = 1
        deployment["ray_actor_options"] |= options.get(deployment["name"], {})
        if deployment["name"] == "Embedder":
            deployment |= {"num_replicas": 2, "max_replicas_per_node": 1}
    return second


def _gpu(share: float, label: str, value: str) -> dict[str, Any]:
    return {"num_cpus": 0.2, "num_gpus": share, "label_selector": {label: value}}


def _gpus_in_use(stand: AutoscaledCluster, node: Node) -> float:
    answer = httpx.get(
        f"http://127.0.0.1:{stand.running.dashboard_port}/nodes",
        params={"view": "summary"},
        headers={"authorization": f"Bearer {stand.state.ray_token()}"},
        trust_env=False,
    )
    used = answer.raise_for_status().json()["data"]["nodeLogicalResources"].get(node.id, "")
    found = re.search(r"([\d.]+)/[\d.]+ GPU", used)
    return float(found[1]) if found else 0.0


def _wait_until_in_use(stand: AutoscaledCluster, node: Node, gpus: float) -> None:
    until = time.monotonic() + _PATIENCE_S
    while (used := _gpus_in_use(stand, node)) != gpus:
        assert time.monotonic() < until, f"{used} GPUs in use on {node}, not {gpus}"
        time.sleep(1)


def test_replicas_share_a_gpu_stand_apart_and_take_several(
    stand: AutoscaledCluster, placed: dict[str, list[Node]]
) -> None:
    apart = placed["Embedder"]
    assert len({node.id for node in apart}) == 2, "one node would have had room for both"
    assert {(node.role, node.gpus) for node in apart} == {("shared", 1)}
    [shared] = placed["Index"]
    assert shared in apart
    _wait_until_in_use(stand, shared, 1.0)
    [large] = placed["Reranker"]
    assert large.labels["winnow/gpu"] == "large"
    _wait_until_in_use(stand, large, 2.0)
