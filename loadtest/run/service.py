"""The service under load: where it answers, its tenants' keys, and what they need to find.

It is one that was given by its URL, or a cluster started here for the run.
"""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from cluster.client import ApiError, WinnowClient
from loadtest.chaos.stand import Stand
from loadtest.run.requests import Requests
from loadtest.traffic import Trace

_DOCUMENTS_A_CALL = 50


@dataclass(frozen=True, slots=True)
class Service:
    """`keys` by tenant. `stand` is the cluster if it was started here: only that one's replicas can
    be counted and killed."""

    url: str
    keys: Mapping[str, str]
    stand: Stand | None = None

    def clients(self) -> list[WinnowClient]:
        """One a key: tenants may share one."""
        return [WinnowClient(self.url, key) for key in dict.fromkeys(self.keys.values())]


@contextmanager
def local_service(profile: dict[str, Any], plans: Mapping[str, str]) -> Iterator[Service]:
    """On this machine, with a state of its own that is gone afterwards; `plans` by tenant."""
    with tempfile.TemporaryDirectory(prefix="w-load-", dir="/tmp") as directory:
        stand = Stand(Path(directory), profile)
        try:
            stand.up()
            url = stand.running.url
            keys = make_keys(WinnowClient(url, stand.state.api_key()), plans)
            yield Service(url, keys, stand)
        finally:
            stand.down()


def served_models(client: WinnowClient) -> dict[str, str]:
    """Names by task, `embed` and `rerank`. Raises ApiError, as all of these."""
    return {card["task"]: card["id"] for card in client.call("GET", "/v1/models")["data"]}


def make_keys(client: WinnowClient, plans: Mapping[str, str]) -> dict[str, str]:
    """New tenants on their plans, and a key of each that reads and writes."""
    keys = {}
    for tenant, plan in plans.items():
        client.call("POST", "/v1/admin/tenants", {"id": tenant, "plan": plan})
        keys[tenant] = str(client.call("POST", "/v1/admin/keys", {"tenant": tenant})["key"])
    return keys


def fill(client: WinnowClient, requests: Requests, tokens: Sequence[int]) -> None:
    """Documents of so many tokens each, in the collection that `requests` search."""
    client.create_collection(requests.collection)
    for first in range(0, len(tokens), _DOCUMENTS_A_CALL):
        part = tokens[first : first + _DOCUMENTS_A_CALL]
        client.upsert(requests.collection, requests.documents(part))


@contextmanager
def filled(service: Service, requests: Requests, trace: Trace, documents: int) -> Iterator[None]:
    """While this lasts each tenant has so many documents to find, of the lengths that the searches
    of `trace` say."""
    searches = trace.item_tokens[trace.is_route("search")]
    tokens = np.resize(searches, documents if len(searches) else 0).tolist()
    clients = service.clients()
    try:
        for client in clients:
            fill(client, requests, tokens)
        yield
    finally:
        for client in clients:
            # A service that the run broke does not cost its report.
            with suppress(ApiError):
                client.delete_collection(requests.collection)
