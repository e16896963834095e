"""`python -m loadtest.traces`: the trace of one search on a local cluster, drawn as text.

Starts a collector and a cluster of its own that exports to it, stores documents, searches once
beside other searches, and draws the trace that the collector passes on.
"""

import os
import secrets
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer

from cluster.profile import load_profile
from loadtest.local_cluster import LocalCluster
from loadtest.traces.collector import running_collector
from loadtest.traces.drawing import draw

_COLLECTION = "facts"
_DOCUMENTS = 40
_OTHERS = 6


def traces(
    profile: Annotated[str, typer.Option(help="Its name, or its file.")] = "local",
) -> None:
    """Draw the trace of one search beside a few others."""
    with tempfile.TemporaryDirectory(prefix="w-trace-", dir="/tmp") as directory:
        work = Path(directory)
        with running_collector(work) as collector:
            os.environ.update(collector.environment)
            cluster = LocalCluster(work / "state", load_profile(profile))
            try:
                cluster.up()
                trace = _search(cluster.running.url, cluster.state.api_key())
                typer.echo(draw(collector.receiver.wait_for(trace, "POST /v1/search")))
            finally:
                cluster.down()


def _search(url: str, key: str) -> str:
    """Search beside others, after a search that warms up; return the trace's id."""
    headers = {"authorization": f"Bearer {key}"}
    with httpx.Client(base_url=url, headers=headers, timeout=60) as client:
        client.put(f"/v1/collections/{_COLLECTION}").raise_for_status()
        documents = [{"id": str(n), "text": _text(n)} for n in range(_DOCUMENTS)]
        path = f"/v1/collections/{_COLLECTION}/documents"
        client.post(path, json={"documents": documents}).raise_for_status()
        _ask(client, "warm up", secrets.token_hex(16))
        trace = secrets.token_hex(16)
        asked = [secrets.token_hex(16) for _ in range(_OTHERS)] + [trace]
        with ThreadPoolExecutor(len(asked)) as pool:
            list(pool.map(lambda one: _ask(client, f"which fact is {one}?", one), asked))
        return trace


def _ask(client: httpx.Client, query: str, trace: str) -> None:
    body: dict[str, Any] = {"collection": _COLLECTION, "query": query, "top_k": 10, "top_n": 3}
    headers = {"traceparent": f"00-{trace}-{secrets.token_hex(8)}-01"}
    client.post("/v1/search", json=body, headers=headers).raise_for_status()


def _text(number: int) -> str:
    return f"Fact {number}: " + "it is well known. " * (1 + number % 7)


if __name__ == "__main__":
    typer.run(traces)
