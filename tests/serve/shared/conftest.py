"""Two Routers on one PostgreSQL and one Redis, before engines that only keep time, with stages that
scale: all tests of this folder share the deployment."""

from collections.abc import Iterator

import pytest
import yaml

from cluster.profile import application, load_profile
from tests.postgres import postgres_url
from tests.redis import RedisServer, redis_server_in
from tests.serve.cluster import Cluster

__all__ = ["postgres_url"]

PER_MIN = 20
TOKENS_PER_MIN = 100_000
_STAGES = {"Embedder": "embed", "Reranker": "rerank"}
_POLICY = {
    "policy_function": "deployments.autoscaling.serve_policy:TokenScaling",
    "policy_kwargs": {
        "stages": {
            name: {"stage": stage, "replica_tokens_per_s": 10_000, "down_delay_s": 10}
            for name, stage in _STAGES.items()
        }
    },
}


@pytest.fixture(scope="package")
def redis_of_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server_in(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="package")
def deployed(
    any_cluster: Cluster,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_url: str,
    redis_of_package: RedisServer,
) -> Cluster:
    directory = tmp_path_factory.mktemp("shared")
    profile = load_profile("local")
    app = application(profile)
    app["import_path"] = "tests.serve.shared.apps:winnow"
    control = app["args"]["router"]["control"]
    urls = (("database_url_file", postgres_url), ("redis_url_file", redis_of_package.url))
    for name, url in urls:
        (directory / name).write_text(f"{url}\n")
        control[name] = str(directory / name)
    by_name = {one["name"]: one for one in app["deployments"]}
    # Serve collects signals only of deployments that autoscale. The policy needs the Routers'.
    del by_name["Router"]["num_replicas"]
    by_name["Router"]["autoscaling_config"] = {"min_replicas": 2, "max_replicas": 2}
    plan = {"requests_per_min": PER_MIN, "tokens_per_min": TOKENS_PER_MIN}
    by_name["Router"]["user_config"] = {"plans": {"small": plan}}
    for name in _STAGES:
        del by_name[name]["num_replicas"]
        scaling = {"min_replicas": 1, "max_replicas": 2, "upscale_delay_s": 0}
        by_name[name]["autoscaling_config"] = scaling | {"downscale_delay_s": 0}
    app["autoscaling_policy"] = _POLICY
    path = directory / "shared.yaml"
    path.write_text(yaml.safe_dump(profile))
    return any_cluster.use(str(path))


@pytest.fixture
def shared(deployed: Cluster, redis_of_package: RedisServer) -> Iterator[Cluster]:
    """The deployment; the Redis runs again after a test that stopped it."""
    yield deployed
    redis_of_package.stop()
    redis_of_package.start()
