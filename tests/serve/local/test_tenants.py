"""Tenants on the real cluster: made by the command line, kept apart, limited, counted."""

import time
import uuid
from collections.abc import Iterator

import httpx
import pytest

from tests.serve.cluster import Cluster, post

_EMBED = {"model": "all-MiniLM-L6-v2", "input": ["How many people live in Berlin?"]}
_SECONDS = 10


@pytest.fixture
def tenant(local: Cluster) -> str:
    name = f"tenant-{uuid.uuid4().hex[:8]}"
    assert name in local.winnow("tenants", "create", name).stdout
    return name


@pytest.fixture
def stranger(local: Cluster, tenant: str) -> Iterator[httpx.Client]:
    """A client of the new tenant."""
    with local.client(local.winnow("keys", "create", tenant).stdout.strip()) as client:
        yield client


def key_id(client: httpx.Client) -> str:
    return client.headers["authorization"].split("_")[2]


def refused_within_seconds(client: httpx.Client) -> bool:
    deadline = time.monotonic() + _SECONDS
    while time.monotonic() < deadline:
        if client.get("/v1/models").status_code == 401:
            return True
        time.sleep(0.2)
    return False


def test_another_tenants_collection_is_as_if_there_were_none(
    api: httpx.Client, stranger: httpx.Client, collection: str
) -> None:
    documents = {"documents": [{"id": "a", "text": "a secret"}]}
    post(api, f"/v1/collections/{collection}/documents", documents)
    for method, path, body in (
        ("GET", "", None),
        ("DELETE", "", None),
        ("GET", "/documents", None),
        ("GET", "/documents/a", None),
        ("DELETE", "/documents/a", None),
        ("POST", "/documents", documents),
        ("POST", "/documents/get", {"ids": ["a"]}),
        ("POST", "/documents/delete", {"ids": ["a"]}),
    ):
        told = [
            stranger.request(
                method,
                f"/v1/collections/{name}{path}",
                json=body,
                headers={"x-confirm-delete": name},
            )
            for name in (collection, "no-such-one")
        ]
        assert [one.status_code for one in told] == [404, 404], (method, path)
        assert told[0].text.replace(collection, "no-such-one") == told[1].text
    search = {"collection": collection, "query": "a secret"}
    assert stranger.post("/v1/search", json=search).status_code == 404
    assert stranger.get("/v1/collections").json() == {"collections": []}
    assert post(api, "/v1/search", search)["results"][0]["text"] == "a secret"


def test_a_key_is_rotated_and_revoked(local: Cluster, stranger: httpx.Client) -> None:
    fresh = local.winnow("keys", "rotate", key_id(stranger), "--overlap-hours", "1").stdout.strip()
    with local.client(fresh) as renewed:
        assert stranger.get("/v1/models").status_code == 200
        assert renewed.get("/v1/models").status_code == 200
        local.winnow("keys", "revoke", key_id(stranger))
        assert refused_within_seconds(stranger)
        assert renewed.get("/v1/models").status_code == 200
    listed = local.winnow("keys", "list").stdout
    assert key_id(stranger) in listed
    assert fresh not in listed


def test_a_disabled_tenant_is_out_until_it_is_enabled(
    local: Cluster, tenant: str, stranger: httpx.Client
) -> None:
    assert "disabled" in local.winnow("tenants", "disable", tenant).stdout
    assert refused_within_seconds(stranger)
    local.winnow("tenants", "enable", tenant)
    assert stranger.get("/v1/models").status_code == 200


def test_a_key_does_what_its_scopes_say(local: Cluster, tenant: str) -> None:
    key = local.winnow("keys", "create", tenant, "--scope", "read").stdout.strip()
    with local.client(key) as reader:
        assert post(reader, "/v1/embeddings", _EMBED)
        assert reader.put("/v1/collections/mine").status_code == 403
        assert reader.get("/v1/admin/tenants").status_code == 403


def test_usage_is_what_the_answers_said(stranger: httpx.Client, tenant: str) -> None:
    embedded = post(stranger, "/v1/embeddings", _EMBED)["usage"]
    again = post(stranger, "/v1/embeddings", _EMBED)["usage"]
    rerank = {"query": "q", "documents": ["a", "b"]}
    ranked = post(stranger, "/v1/rerank", rerank)["usage"]
    assert stranger.post("/v1/rerank", json={"query": "q"}).status_code == 400
    used = stranger.get("/v1/usage").json()["usage"]
    cached = [one["prompt_tokens_details"]["cached_tokens"] for one in (embedded, again)]
    assert used == [
        {
            "tenant": tenant,
            "stage": "embed",
            "model": "all-MiniLM-L6-v2",
            "requests": 2,
            "tokens": embedded["total_tokens"] + again["total_tokens"],
            "cached_tokens": sum(cached),
        },
        {
            "tenant": tenant,
            "stage": "rerank",
            "model": "ms-marco-MiniLM-L-12-v2",
            "requests": 1,
            "tokens": ranked["total_tokens"],
            "cached_tokens": ranked["prompt_tokens_details"]["cached_tokens"],
        },
    ]


@pytest.mark.parametrize(
    "headers",
    [
        {"x-request-timeout-seconds": "0.000001"},
        {"x-request-disconnect-disabled": "?1"},
        {"serve_multiplexed_model_id": "other"},
        {"x-serve-router-anything": "1", "x-session-id": "1"},
    ],
)
def test_serves_own_headers_are_not_the_clients_to_send(
    api: httpx.Client, headers: dict[str, str]
) -> None:
    assert api.post("/v1/embeddings", json=_EMBED, headers=headers).status_code == 200


def test_a_request_id_is_the_callers_if_it_is_well_formed(api: httpx.Client) -> None:
    given = api.get("/v1/models", headers={"x-request-id": "my-request.1"})
    assert given.headers["x-request-id"] == "my-request.1"
    replaced = api.get("/v1/models", headers={"x-request-id": "not <well> formed"})
    assert len(replaced.headers["x-request-id"]) >= 16
    assert "<" not in replaced.headers["x-request-id"]
