"""The command line against the running cluster."""

import json
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from cluster.local.serve_api import ServeApi
from tests.serve.cluster import Cluster, post

# Enough that an ingest of them is still going on when it is interrupted.
_DOCUMENTS = 2_000


def test_smoke_passes(local: Cluster) -> None:
    done = local.winnow("smoke")
    assert done.stdout.count("ok") == 7
    assert "fail" not in done.stdout


def test_status_shows_deployments_replicas_models_and_queue(local: Cluster) -> None:
    shown = local.winnow("status").stdout
    for expected in ("Router", "Embedder", "Index", "Reranker", "1 running of 1", "HEALTHY"):
        assert expected in shown
    assert "all-MiniLM-L6-v2" in shown


def test_every_replica_that_serve_has_says_what_it_does(local: Cluster, api: httpx.Client) -> None:
    def done() -> dict[str, int]:
        stages = api.get("/v1/admin/replicas").json()["stages"]
        assert {stage: len(loads) for stage, loads in stages.items()} == {
            "embed": 1,
            "retrieve": 1,
            "rerank": 1,
        }
        return {load["replica"]: load["batches_done"] for [load] in stages.values()}

    before = done()
    post(api, "/v1/rerank", {"query": "what neighs?", "documents": ["a horse", "a mule"]})
    after = done()
    assert sorted(after) == sorted(before)
    assert sum(after.values()) == sum(before.values()) + 1
    cluster = local.state.running()
    assert cluster is not None
    serve = ServeApi(cluster.dashboard_port, local.state.ray_token())
    deployed = serve.application("winnow").deployments
    running = {one.id for each in deployed if each.name != "Router" for one in each.each}
    assert set(after) == running


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    path = tmp_path / "corpus.jsonl"
    lines = (
        json.dumps({"id": f"doc-{n}", "text": f"Fact {n}: " + "and so on " * 5, "metadata": {}})
        for n in range(_DOCUMENTS)
    )
    path.write_text("\n".join(lines))
    return path


def test_an_interrupted_ingest_is_finished_without_loss_or_doubles(
    local: Cluster, api: httpx.Client, collection: str, corpus: Path
) -> None:
    running = subprocess.Popen(
        local.command("ingest", collection, str(corpus)),
        env=local.environment(),
        stdout=subprocess.DEVNULL,
    )
    stored = 0
    while stored == 0 and running.poll() is None:
        time.sleep(0.1)
        stored = api.get(f"/v1/collections/{collection}").json()["documents"]
    running.kill()  # a shell's background job would not hear of SIGINT
    running.wait(timeout=30)
    partly = api.get(f"/v1/collections/{collection}").json()["documents"]
    assert 0 < partly < _DOCUMENTS, "the run ended before it was interrupted"
    again = " ".join(local.winnow("ingest", collection, str(corpus)).stdout.split())
    assert "were there already" in again
    assert api.get(f"/v1/collections/{collection}").json()["documents"] == _DOCUMENTS
    final = " ".join(local.winnow("ingest", collection, str(corpus)).stdout.split())
    assert f"0 documents stored, {_DOCUMENTS} were there already" in final


def test_markdown_is_chunked_and_a_shortened_file_leaves_nothing_behind(
    local: Cluster, api: httpx.Client, collection: str, tmp_path: Path
) -> None:
    path = tmp_path / "guide.md"
    sections = [f"# Part {n}\n\n" + f"Sentence about topic {n}. " * 40 for n in range(6)]
    path.write_text("\n\n".join(sections))
    local.winnow("ingest", collection, str(path))
    before = api.get(f"/v1/collections/{collection}").json()["documents"]
    path.write_text("\n\n".join(sections[:2]))
    local.winnow("ingest", collection, str(path))
    after = api.get(f"/v1/collections/{collection}/documents").json()["documents"]
    assert before >= 6
    assert 2 <= len(after) < before
    assert all("topic 5" not in document["text"] for document in after)


def test_search_prints_a_table(local: Cluster, api: httpx.Client, collection: str) -> None:
    documents = [{"id": "berlin", "text": "Berlin has 3,520,031 inhabitants.", "metadata": {}}]
    post(api, f"/v1/collections/{collection}/documents", {"documents": documents})
    shown = local.winnow("search", collection, "How many people live in Berlin?").stdout
    for expected in ("rank", "relevance", "retrieval", "title", "snippet", "3,520,031", "rerank"):
        assert expected in shown


def test_brackets_are_text(local: Cluster, api: httpx.Client, collection: str) -> None:
    title = "[/bold] arrays [i] in C"
    document = {"id": "arrays", "text": f"{title} are zero-based.", "metadata": {"title": title}}
    post(api, f"/v1/collections/{collection}/documents", {"documents": [document]})
    shown = local.winnow("search", collection, f"What are {title}?").stdout
    assert shown.count(title) == 3


def test_errors_are_one_line_and_exit_1(local: Cluster) -> None:
    done = local.winnow("search", "nothing-here", "x", check=False)
    assert done.returncode == 1
    assert "404" in done.stderr
    assert "Traceback" not in done.stderr


def test_up_on_a_running_cluster_says_where_it_is(local: Cluster) -> None:
    assert local.url in local.winnow("up", "--profile", "local").stdout
