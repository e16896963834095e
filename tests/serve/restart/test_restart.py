"""Acknowledged documents survive `kill -9` of every process."""

import threading

import httpx
import psutil

from cluster.local.head import processes
from tests.serve.cluster import Cluster

_BATCH = 50


def _write_until_it_fails(
    cluster: Cluster, name: str, acknowledged: list[str], tokens: list[int]
) -> None:
    with cluster.client() as client:
        for batch in range(1_000):
            ids = [f"{batch}-{n}" for n in range(_BATCH)]
            documents = [{"id": id, "text": f"Document {id}."} for id in ids]
            try:
                response = client.post(
                    f"/v1/collections/{name}/documents", json={"documents": documents}
                )
            except httpx.TransportError:
                return
            if response.status_code != 200:
                return
            acknowledged.extend(ids)
            tokens.append(response.json()["tokens"])


def _tokens_used(client: httpx.Client) -> int:
    used = client.get("/v1/usage").json()["usage"]
    return sum(one["tokens"] for one in used if one["stage"] == "embed")


def test_every_acknowledged_document_is_found_after_kill_9(any_cluster: Cluster) -> None:
    cluster = any_cluster.use("local")
    with cluster.client() as client:
        assert client.put("/v1/collections/survivor").status_code == 201
        used_before = _tokens_used(client)
    acknowledged: list[str] = []
    tokens: list[int] = []
    writer = threading.Thread(
        target=_write_until_it_fails, args=(cluster, "survivor", acknowledged, tokens)
    )
    writer.start()
    while len(acknowledged) < 6 * _BATCH:
        assert writer.is_alive(), "the service refused to store documents"
        writer.join(timeout=0.05)
    running = cluster.state.running()
    assert running is not None
    victims = processes(running)
    assert len(victims) > 8
    for victim in victims:
        try:
            victim.kill()
        except psutil.NoSuchProcess:
            continue
    writer.join(timeout=60)
    assert not writer.is_alive()

    cluster.mark_stopped()
    cluster.use("local")
    with cluster.client() as client:
        for start in range(0, len(acknowledged), 500):
            ids = acknowledged[start : start + 500]
            found = client.post("/v1/collections/survivor/documents/get", json={"ids": ids})
            documents = found.json()["documents"]
            assert [document and document["id"] for document in documents] == ids
        count = client.get("/v1/collections/survivor").json()["documents"]
        # A batch that was written but not answered may be there too, whole or not at all.
        assert count - len(acknowledged) in (0, _BATCH)
        # Every token that was answered for is counted, and no more than the batch cut off.
        unanswered = _tokens_used(client) - used_before - sum(tokens)
        assert 0 <= unanswered < 2 * max(tokens)
        body = {"collection": "survivor", "query": "Document 3-7.", "top_k": 20, "top_n": 1}
        assert client.post("/v1/search", json=body).json()["results"]


def test_other_machines_reach_the_replicas_calls_and_haproxys_figures_alone(
    any_cluster: Cluster,
) -> None:
    running = any_cluster.use("local").state.running()
    assert running is not None
    reached = {
        process.name()
        for process in processes(running)
        for connection in process.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN and not connection.laddr.ip.endswith("127.0.0.1")
    }
    assert {name[: len("ray::ServeReplica")] for name in reached} == {
        "haproxy",
        "ray::ServeReplica",
    }
