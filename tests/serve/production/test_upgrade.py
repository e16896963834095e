"""The chart's own Serve configuration is deployed and serves, and its next one under load.

The last of this folder's files: it leaves another version.
"""

import asyncio

import pytest

from cluster.client import ApiError
from cluster.profile import application
from loadtest.rollouts.__main__ import roll
from loadtest.rollouts.changes import Change
from tests.k8s.tools import Object, serve_config
from tests.one_machine import may_not_differ
from tests.serve.production.chart import ChartCluster

_STAGES = ("Router", "Embedder", "Index", "Reranker")
_REVISION = "f" * 40
_REQUESTS_PER_S = 4.0
# A new version of everything, other models, a plan, and one Index more.
_UPGRADE: Object = {
    "serve.args.embedder.engine.revision": _REVISION,
    "serve.args.reranker.engine.revision": _REVISION,
    "serve.deployments.Router.user_config.plans.added": {"requests_per_min": 60},
    "serve.deployments.Index.num_replicas": 3,
}
# The nodes of a local cluster share a machine, and so the ports.
_OF_LOCAL_NODES = {"proxy_location", "http_options.port"}


def _serves_the_chart(production: ChartCluster) -> None:
    """Serve has all that the chart says but for what one machine makes different; a field that it
    does not know it has dropped."""
    rendered, given = serve_config([production.service]), production.document()
    assert may_not_differ(rendered, given) <= _OF_LOCAL_NODES
    [app] = production.serve().configurations()
    assert app.pop("logging_config") == rendered["logging_config"], "Serve hands it down"
    assert app == application(given)


def test_what_the_chart_renders_is_deployed_and_serves(production: ChartCluster) -> None:
    _serves_the_chart(production)
    assert production.is_whole()
    client = production.client()
    client.create_collection("rendered")
    client.upsert("rendered", [{"id": "a", "text": "a cat"}, {"id": "b", "text": "a dog"}])
    found = client.search("rendered", "a cat", top_k=2, top_n=2)
    assert {hit["id"] for hit in found["results"]} == {"a", "b"}
    client.delete_collection("rendered")


def test_an_upgrade_of_the_charts_values_rolls_out_and_no_request_fails(
    production: ChartCluster,
) -> None:
    before = {stage: set(production.replicas(stage)) for stage in _STAGES}
    pods = production.service["spec"]["rayClusterConfig"]
    new_tenant = {"id": "upgraded", "plan": "added"}
    with pytest.raises(ApiError, match="there is no plan 'added'"):
        production.client().call("POST", "/v1/admin/tenants", new_tenant)
    change = Change("the chart's next values", lambda _: production.upgrade(_UPGRADE))
    row = asyncio.run(roll(production, change, _REQUESTS_PER_S, requests=60))
    assert row.sent > 50
    assert (row.failed, row.refused) == (0, 0), row.problems
    # KubeRay does so in the cluster that is there, as long as its pods stay what they are.
    assert production.service["spec"]["rayClusterConfig"] == pods
    _serves_the_chart(production)
    after = {stage: set(production.replicas(stage)) for stage in _STAGES}
    assert len(after["Index"]) == 3
    assert not [stage for stage in _STAGES if before[stage] & after[stage]], "an old one serves on"
    assert production.client().call("POST", "/v1/admin/tenants", new_tenant)["plan"] == "added"
