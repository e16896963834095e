"""What the chart renders is deployed on a cluster of several nodes, and upgraded under load.

The last of this folder's files: the cluster keeps the rendered profile.
"""

import shutil
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from cluster.models.errors import ModelError
from cluster.models.pull import default_cache, resolve
from cluster.profile import application
from loadtest.nodes.cluster import AutoscaledCluster
from tests.k8s.tools import CHART, Helm, Object, helm_binary, serve_config
from tests.serve.autoscaler.test_growth import Searches

_GROUP = {"cpu": 2, "memory": "1Gi", "minReplicas": 1, "maxReplicas": 3}


@pytest.fixture
def chart(stand: AutoscaledCluster, tmp_path: Path) -> Path:
    """The chart with one profile more: that of the cluster, whose engines only keep time."""
    copy = tmp_path / "chart"
    shutil.copytree(CHART, copy)
    profile = deepcopy(stand.profile)
    profile["http_options"] = {"host": "0.0.0.0", "port": 8000}
    (copy / "profiles" / "paced.yaml").write_text(yaml.safe_dump(profile))
    return copy


def _render(chart: Path, args: Object) -> dict[str, Any]:
    try:
        helm = Helm(helm_binary())
    except ModelError as error:
        pytest.skip(f"Helm cannot be had: {error}")
    groups = [
        _GROUP | {"name": "control", "role": "head"},
        _GROUP | {"name": "embed", "role": "embed", "gpus": 1},
        _GROUP | {"name": "rerank", "role": "rerank", "gpus": 1},
    ]
    values: Object = {"profile": "paced", "groups": groups, "serve.args": args}
    return serve_config(helm.template(values | {"redis.address": ""}, chart=chart))


def test_a_rendered_profile_serves_and_is_upgraded_under_load(
    stand: AutoscaledCluster, chart: Path
) -> None:
    args: Object = {"router": {"tokenizer_threads": 1}}
    for part in ("embedder", "reranker"):
        name = application(stand.profile)["args"][part]["engine"]["model"]
        directory = str(Path(resolve(name, default_cache(), Console())).absolute())
        args[part] = {"engine": {"model": directory}}
    stand.profile = _render(chart, args)
    stand.up()
    assert stand.is_whole()
    before = {name: stand.replicas(name) for name in ("Router", "Embedder", "Reranker")}
    searches = Searches(stand)
    searches.run()
    try:
        args["router"]["tokenizer_threads"] = 2
        args["embedder"]["aliases"] = ["another"]
        args["reranker"]["aliases"] = ["one-more"]
        stand.profile = _render(chart, args)
        stand.up()
    finally:
        searches.end()
    assert len(searches.statuses) > 20
    assert set(searches.statuses) == {200}
    for name, pids in before.items():
        assert not set(pids) & set(stand.replicas(name)), f"{name} was not replaced"
    [deployed] = stand.serve().configurations()
    assert deployed["args"]["embedder"]["aliases"] == ["another"]
