"""Any order of changes to two tenants' collections leaves what a plain dictionary would hold."""

import string
from typing import Any, ClassVar

import httpx
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from tests.whole.app import TENANTS, WholeApp

_NAMES = ("one", "two")
_TOPICS = ("sea", "sky", "soil")

tenants = st.sampled_from(TENANTS)
names = st.sampled_from(_NAMES)
topics = st.sampled_from(_TOPICS)
# Few, so that they meet; some that a path or a filter could take for something else.
ids = st.sampled_from(["a", "b", "c", "a/b", "ä b?#%", "'or 1=1--", "delete", "get"])
texts = st.text(string.ascii_lowercase + " ", min_size=1, max_size=40).filter(str.strip)
documents = st.builds(
    lambda id, text, topic, year: {
        "id": id,
        "text": text,
        "metadata": {"topic": topic, "year": year},
    },
    ids,
    texts,
    topics,
    st.integers(1990, 1995),
)

Document = dict[str, Any]
Place = tuple[str, str]


class Collections(RuleBasedStateMachine):
    """`model` is what should be stored: documents by id, by tenant and collection."""

    clients: ClassVar[dict[str, httpx.Client]]

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[Place, dict[str, Document]] = {}

    @initialize()
    def begin(self) -> None:
        for tenant in TENANTS:
            for name in _NAMES:
                assert self.ask(tenant, "DELETE", name).status_code in (204, 404)
            self.create(tenant, _NAMES[0])

    @rule(tenant=tenants, name=names)
    def create(self, tenant: str, name: str) -> None:
        answer = self.ask(tenant, "PUT", name)
        assert answer.status_code == (200 if (tenant, name) in self.model else 201)
        held = self.model.setdefault((tenant, name), {})
        assert answer.json()["documents"] == len(held)

    @rule(tenant=tenants, name=names)
    def drop(self, tenant: str, name: str) -> None:
        there = self.model.pop((tenant, name), None) is not None
        assert self.ask(tenant, "DELETE", name).status_code == (204 if there else 404)

    @rule(tenant=tenants, name=names, given=st.lists(documents, min_size=1, max_size=6))
    def upsert(self, tenant: str, name: str, given: list[Document]) -> None:
        answer = self.ask(tenant, "POST", f"{name}/documents", {"documents": given})
        if self.known(tenant, name, answer):
            assert answer.json()["upserted"] == len({one["id"] for one in given})
            self.model[tenant, name].update({one["id"]: one for one in given})

    @rule(tenant=tenants, name=names, chosen=st.lists(ids, min_size=1, max_size=4))
    def delete_by_id(self, tenant: str, name: str, chosen: list[str]) -> None:
        answer = self.ask(tenant, "POST", f"{name}/documents/delete", {"ids": chosen})
        if self.known(tenant, name, answer):
            held = self.model[tenant, name]
            gone = {id for id in chosen if held.pop(id, None)}
            assert answer.json() == {"deleted": len(gone)}

    @rule(tenant=tenants, name=names, topic=topics, year=st.integers(1990, 1995))
    def delete_by_filter(self, tenant: str, name: str, topic: str, year: int) -> None:
        where = {"topic": topic, "year": {"$gte": year}}
        answer = self.ask(tenant, "POST", f"{name}/documents/delete", {"filter": where})
        if self.known(tenant, name, answer):
            held = self.model[tenant, name]
            gone = [id for id, one in held.items() if _matches(one, topic, year)]
            assert answer.json() == {"deleted": len(gone)}
            for id in gone:
                del held[id]

    @rule(tenant=tenants, name=names, chosen=st.lists(ids, min_size=1, max_size=4))
    def get(self, tenant: str, name: str, chosen: list[str]) -> None:
        answer = self.ask(tenant, "POST", f"{name}/documents/get", {"ids": chosen})
        if self.known(tenant, name, answer):
            held = self.model[tenant, name]
            assert answer.json()["documents"] == [held.get(id) for id in chosen]

    @rule(tenant=tenants, name=names, limit=st.integers(1, 5))
    def scan(self, tenant: str, name: str, limit: int) -> None:
        found: list[Document] = []
        query: dict[str, Any] = {"limit": limit}
        while True:
            answer = self.ask(tenant, "GET", f"{name}/documents", params=query)
            if not self.known(tenant, name, answer):
                return
            found += answer.json()["documents"]
            query["cursor"] = answer.json()["cursor"]
            if query["cursor"] is None:
                break
        assert found == sorted(self.model[tenant, name].values(), key=lambda one: one["id"])

    @rule(tenant=tenants, name=names, query=texts, topic=st.none() | topics, rerank=st.booleans())
    def search(self, tenant: str, name: str, query: str, topic: str | None, rerank: bool) -> None:
        body: dict[str, Any] = {"collection": name, "query": query, "rerank": rerank}
        if topic is not None:
            body["filter"] = {"topic": topic}
        answer = self.clients[tenant].post("/v1/search", json=body)
        if not self.known(tenant, name, answer):
            return
        held = self.model[tenant, name].values()
        expected = {one["id"]: one for one in held if topic in (None, one["metadata"]["topic"])}
        results = answer.json()["results"]
        assert {hit["id"]: {k: hit[k] for k in ("id", "text", "metadata")} for hit in results} == (
            expected
        )
        order = "relevance_score" if rerank else "retrieval_score"
        scores = [hit[order] for hit in results]
        assert scores == sorted(scores, reverse=True)

    @invariant()
    def a_tenant_lists_its_own_collections(self) -> None:
        for tenant, client in self.clients.items():
            listed = client.get("/v1/collections").json()["collections"]
            found = {one["name"]: one["documents"] for one in listed if one["name"] in _NAMES}
            assert found == {
                name: len(held) for (owner, name), held in self.model.items() if owner == tenant
            }

    def ask(
        self, tenant: str, method: str, path: str, body: Any = None, params: Any = None
    ) -> httpx.Response:
        client = self.clients[tenant]
        headers = {"x-confirm-delete": path} if method == "DELETE" else {}
        return client.request(
            method, f"/v1/collections/{path}", json=body, params=params, headers=headers
        )

    def known(self, tenant: str, name: str, answer: httpx.Response) -> bool:
        """True if the collection is there; what is not must be a 404."""
        there = (tenant, name) in self.model
        assert answer.status_code == (200 if there else 404), answer.text
        return there


def _matches(document: Document, topic: str, year: int) -> bool:
    metadata = document["metadata"]
    return bool(metadata["topic"] == topic and metadata["year"] >= year)


def test_any_order_of_changes_leaves_what_a_dictionary_would_hold(
    whole: WholeApp, url: str
) -> None:
    Collections.clients = {tenant: whole.client(url, tenant) for tenant in TENANTS}
    run_state_machine_as_test(
        Collections,
        settings=settings(
            max_examples=20,
            stateful_step_count=50,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
