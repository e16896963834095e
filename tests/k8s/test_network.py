"""Network policies of the chart, as Kubernetes reads them: the peers and ports of each pod."""

from typing import Any

import pytest

from tests.k8s.tools import Helm, Object, of_kind, pods, ray_service

_RAY_PORTS = (6379, 8265, 10001, 30000, 8404, 8080, 52365)
_EVERYWHERE = "anything else"


@pytest.fixture(scope="session")
def objects(helm: Helm) -> list[Object]:
    values = {"secrets.smoke": "winnow-smoke", "networkPolicy.database": _database()}
    return helm.template(values)


def _database() -> Object:
    return {"to": [{"podSelector": {"matchLabels": {"is": "postgres"}}}], "port": 5432}


class Network:
    """The policies, over the pods of the chart and peers that are named by what selects them."""

    def __init__(self, objects: list[Object]) -> None:
        self._policies = [one["spec"] for one in of_kind(objects, "NetworkPolicy")]
        self._labels = {name: _labels(pod) for name, pod in pods(objects).items()}

    def lets_in(self, peer: str, name: str, port: int) -> bool:
        """`peer` is one of the pods, the name of a namespace, or anything else."""
        return self._passes("Ingress", "from", name, peer, port)

    def lets_out(self, name: str, peer: str, port: int) -> bool:
        return self._passes("Egress", "to", name, peer, port)

    def _passes(self, kind: str, side: str, name: str, peer: str, port: int) -> bool:
        chosen = [
            policy
            for policy in self._policies
            if kind in policy["policyTypes"] and _selects(policy["podSelector"], self._labels[name])
        ]
        assert chosen, f"{kind} of {name} is not restricted"
        rules = [rule for policy in chosen for rule in policy.get(kind.lower(), [])]
        return any(self._matches(rule, side, peer, port) for rule in rules)

    def _matches(self, rule: Object, side: str, peer: str, port: int) -> bool:
        ports = {one["port"] for one in rule.get("ports", [])}
        if ports and port not in ports:
            return False
        peers = rule.get(side)
        return not peers or any(self._is(one, peer) for one in peers)

    def _is(self, selector: Object, peer: str) -> bool:
        if "namespaceSelector" in selector:
            labels = selector["namespaceSelector"]["matchLabels"]
            return bool(labels["kubernetes.io/metadata.name"] == peer)
        if "ipBlock" in selector:
            return bool(selector["ipBlock"]["cidr"] == peer)
        return _selects(selector["podSelector"], self._labels.get(peer, {"is": peer}))


def _labels(pod: Object) -> dict[str, str]:
    labels: dict[str, str] = pod["metadata"]["labels"]
    return labels


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    for one in selector.get("matchExpressions", []):
        assert one["operator"] == "NotIn"
        if labels.get(one["key"]) in one["values"]:
            return False
    wanted: dict[str, str] = selector.get("matchLabels", {})
    return wanted.items() <= labels.items()


@pytest.fixture(scope="session")
def network(objects: list[Object]) -> Network:
    return Network(objects)


def test_requests_reach_the_workers_and_nothing_of_rays(network: Network) -> None:
    for name in ("router", "gpu"):
        assert network.lets_in("ingress-nginx", name, 8000)
        assert network.lets_in("winnow-smoke", name, 8000)
        assert not network.lets_in(_EVERYWHERE, name, 8000)
        for port in _RAY_PORTS:
            assert not network.lets_in("ingress-nginx", name, port), (name, port)
    for port in (8000, *_RAY_PORTS):
        assert not network.lets_in("ingress-nginx", "head", port), port


def test_kuberay_reaches_the_heads_dashboard_alone(network: Network) -> None:
    assert network.lets_in("kuberay-system", "head", 8265)
    assert not network.lets_in("kuberay-system", "head", 6379)
    assert not network.lets_in("kuberay-system", "router", 8265)


def test_prometheus_reads_metrics_and_no_more(network: Network) -> None:
    for name in ("head", "router", "gpu"):
        assert network.lets_in("monitoring", name, 8080)
        assert network.lets_in("monitoring", name, 9101)
        assert not network.lets_in("monitoring", name, 8404)
        assert not network.lets_in("monitoring", name, 8265)
        assert not network.lets_in(_EVERYWHERE, name, 8080)


def test_rays_pods_reach_one_another_on_every_port(network: Network) -> None:
    for name in ("head", "router", "gpu"):
        for other in ("head", "router", "gpu"):
            assert network.lets_in(other, name, 30000)
            assert network.lets_out(name, other, 6379)


def test_a_pod_reaches_the_stores_that_it_uses(network: Network, objects: list[Object]) -> None:
    [job] = (one["metadata"]["name"] for one in of_kind(objects, "Job"))
    reaches: dict[tuple[str, int], set[str]] = {
        ("postgres", 5432): {"router"},
        ("redis", 6379): {"router", "head"},
        ("the Kubernetes API", 6443): {"head"},
        ("the Hub", 443): {job, "head"},  # the Kubernetes API's other port
        ("kube-system", 53): {"head", "router", "gpu", job, "winnow-smoke"},
        (_EVERYWHERE, 5432): set(),
        (_EVERYWHERE, 80): set(),
    }
    for (peer, port), expected in reaches.items():
        found = {name for name in pods(objects) if network.lets_out(name, peer, port)}
        assert found == expected, (peer, port)


def test_the_heads_way_to_kubernetes_can_be_told_by_address(helm: Helm) -> None:
    network = Network(helm.template({"networkPolicy.apiServer.cidrs": ["10.0.0.1/32"]}))
    assert network.lets_out("head", "10.0.0.1/32", 6443)
    assert not network.lets_out("head", "the Hub", 443)


def test_an_ingress_sends_to_the_serve_service_over_tls(helm: Helm) -> None:
    [ingress] = of_kind(helm.template(size="small"), "Ingress")
    [rule] = ingress["spec"]["rules"]
    [path] = rule["http"]["paths"]
    backend: Any = path["backend"]["service"]
    assert backend == {"name": "winnow-serve-svc", "port": {"number": 8000}}
    [tls] = ingress["spec"]["tls"]
    assert tls["hosts"] == [rule["host"]]
    assert tls["secretName"]


def test_the_service_in_front_excludes_the_head(objects: list[Object]) -> None:
    """Its dashboard and its GCS stand beside a port 8000 that nobody is sent to."""
    assert ray_service(objects)["spec"]["excludeHeadPodFromServeSvc"] is True


def test_a_route_belongs_to_a_gateways_listener_with_tls(helm: Helm) -> None:
    [route] = of_kind(helm.template(size="large"), "HTTPRoute")
    [parent] = route["spec"]["parentRefs"]
    assert parent == {"name": "public", "namespace": "gateways", "sectionName": "https"}


_PATHS = ["/v1/search", "/readyz"]


def test_an_ingress_may_let_through_some_paths_alone(helm: Helm) -> None:
    [ingress] = of_kind(helm.template({"ingress.paths": _PATHS}, size="small"), "Ingress")
    [rule] = ingress["spec"]["rules"]
    assert [path["path"] for path in rule["http"]["paths"]] == _PATHS


def test_a_route_may_let_through_some_paths_alone(helm: Helm) -> None:
    [route] = of_kind(helm.template({"ingress.paths": _PATHS}, size="large"), "HTTPRoute")
    [rule] = route["spec"]["rules"]
    assert [match["path"] for match in rule["matches"]] == [
        {"type": "PathPrefix", "value": path} for path in _PATHS
    ]


def test_secrets_may_come_from_an_external_store(helm: Helm) -> None:
    made = of_kind(helm.template(size="large"), "ExternalSecret")
    assert {one["spec"]["target"]["name"] for one in made} == {
        "winnow-keys",
        "winnow-control",
        "winnow-ray-token",
        "winnow-qdrant",
        "winnow-smoke",
    }
