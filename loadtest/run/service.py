"""The service under load: its URL, its tenants' keys, and the documents their searches find.

Either a running service, given by its URL, or a cluster started here for the run.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cluster.client import ApiError, WinnowClient
from loadtest.local_cluster import LocalCluster
from loadtest.run.requests import Requests
from loadtest.traffic import Trace

_DOCUMENTS_A_CALL = 50


@dataclass(frozen=True, slots=True)
class Service:
    """`keys` are API keys by tenant. `cluster` is None for a service that was not started here:
    its replicas can neither be counted nor killed."""

    url: str
    keys: Mapping[str, str]
    cluster: LocalCluster | None = None

    def clients(self) -> list[WinnowClient]:
        """Return one client for each key; tenants may share a key."""
        return [WinnowClient(self.url, key) for key in dict.fromkeys(self.keys.values())]


@contextmanager
def local_service(profile: dict[str, Any], plans: Mapping[str, str]) -> Iterator[Service]:
    """Start a cluster here for the block, in a temporary state; `plans` are by tenant."""
    with tempfile.TemporaryDirectory(prefix="w-load-", dir="/tmp") as directory:
        cluster = LocalCluster(Path(directory), profile)
        with serving(cluster, plans) as service:
            yield service


@contextmanager
def serving(cluster: LocalCluster, plans: Mapping[str, str]) -> Iterator[Service]:
    """Start `cluster` for the block, with tenants on their plans."""
    try:
        cluster.up()
        keys = make_keys(cluster.client(), plans)
        yield Service(cluster.running.url, keys, cluster)
    finally:
        cluster.down()


def served_models(client: WinnowClient) -> dict[str, str]:
    """Return the served models' names by task, `embed` and `rerank`. Raises ApiError."""
    return {card["task"]: card["id"] for card in client.call("GET", "/v1/models")["data"]}


def make_keys(client: WinnowClient, plans: Mapping[str, str]) -> dict[str, str]:
    """Make tenants on their plans; return a key of each with read and write. Raises ApiError."""
    keys = {}
    for tenant, plan in plans.items():
        client.call("POST", "/v1/admin/tenants", {"id": tenant, "plan": plan})
        keys[tenant] = str(client.call("POST", "/v1/admin/keys", {"tenant": tenant})["key"])
    return keys


def fill(client: WinnowClient, requests: Requests, tokens: Sequence[int]) -> None:
    """Store documents of these numbers of tokens where `requests` search. Raises ApiError."""
    client.create_collection(requests.collection)
    for first in range(0, len(tokens), _DOCUMENTS_A_CALL):
        part = tokens[first : first + _DOCUMENTS_A_CALL]
        client.upsert(requests.collection, requests.documents(part))


@contextmanager
def filled(service: Service, requests: Requests, trace: Trace, documents: int) -> Iterator[None]:
    """Give each tenant documents for the block, as long as the trace's candidates.

    Raises ApiError on entry; the collections are deleted on leaving, if the service still answers.
    """
    searches = trace.item_tokens[trace.is_route("search")]
    tokens = np.resize(searches, documents if len(searches) else 0).tolist()
    clients = service.clients()
    try:
        for client in clients:
            fill(client, requests, tokens)
        yield
    finally:
        for client in clients:
            # Even if the run broke the service, its report is written.
            with suppress(ApiError):
                client.delete_collection(requests.collection)
