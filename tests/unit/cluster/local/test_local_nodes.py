"""Ray's own code accepts the autoscaler's configuration of a local cluster."""

from pathlib import Path

import pytest
from ray.autoscaler._private.fake_multi_node.node_provider import FAKE_HEAD_NODE_ID
from ray.autoscaler._private.providers import _get_node_provider_cls
from ray.autoscaler.v2.instance_manager.config import AutoscalingConfig

from cluster.local.local_nodes import autoscaler_environment, autoscaling_config
from cluster.node_groups import ClusterSpec, load_cluster_spec

_NODES = Path(__file__).parents[4] / "k8s" / "cluster.yaml"


@pytest.fixture
def spec() -> ClusterSpec:
    return load_cluster_spec(_NODES)


def test_node_groups_become_node_types(spec: ClusterSpec) -> None:
    groups = spec.groups
    config = AutoscalingConfig(autoscaling_config(groups, "127.0.0.1:6379"), skip_content_hash=True)
    types = config.get_node_type_configs()
    assert config.get_head_node_type() in types
    for group in groups:
        made = types[group.name]
        assert made.labels == {"winnow/role": group.role}
        assert (made.resources["CPU"], made.resources.get("GPU", 0)) == (group.cpu, group.gpus)
        assert (made.min_worker_nodes, made.max_worker_nodes) == (
            group.min_replicas,
            group.max_replicas,
        )
        assert made.idle_timeout_s == group.idle_timeout_s


def test_the_provider_and_its_head_are_rays(spec: ClusterSpec) -> None:
    config = autoscaling_config(spec.groups, "127.0.0.1:6379")
    assert _get_node_provider_cls(config["provider"]).__name__ == "FakeMultiNodeProvider"
    assert config["provider"]["head_node_id"] == FAKE_HEAD_NODE_ID
    assert autoscaler_environment()["RAY_CLOUD_INSTANCE_ID"] == FAKE_HEAD_NODE_ID
