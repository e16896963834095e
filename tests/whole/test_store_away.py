"""While the store does not answer, who needs the index hears so, and who does not is served."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from deployments.errors import StoreUnavailable
from tests.whole.app import WholeApp

_PLACES = 8


@pytest.fixture(scope="module")
def crowded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[WholeApp, httpx.Client]]:
    """A service with few places, and a client of it with a collection."""
    whole = WholeApp(tmp_path_factory.mktemp("away"))
    with whole.served() as url, whole.client(url, "alice") as client:
        whole._router.reconfigure({"requests_at_once": _PLACES})
        client.put("/v1/collections/notes")
        yield whole, client


def test_a_store_that_is_away_takes_no_place_of_who_needs_none(
    crowded: tuple[WholeApp, httpx.Client], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> None:
        raise StoreUnavailable("the index does not answer")

    whole, client = crowded
    for method in ("fingerprint", "search", "upsert", "scan"):
        monkeypatch.setattr(whole._index._store, method, away)

    def upsert(number: int) -> httpx.Response:
        body = {"documents": [{"id": str(number), "text": "a horse"}]}
        return client.post("/v1/collections/notes/documents", json=body)

    with ThreadPoolExecutor(4 * _PLACES) as pool:
        answers = [pool.submit(upsert, number) for number in range(4 * _PLACES)]
        [answer.result(timeout=10) for answer in answers]
    refused = upsert(0)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "stage_unavailable")
    assert refused.headers["x-should-retry"] == "true"
    assert float(refused.headers["retry-after-ms"]) <= 2_000
    body = {"collection": "notes", "query": "what neighs?"}
    assert client.post("/v1/search", json=body).status_code == 503
    embedded = client.post("/v1/embeddings", json={"input": "a horse", "model": whole.embed_model})
    assert embedded.status_code == 200
