"""Documents of rerank requests: objects by their fields, blank ones last, and as each vendor's
clients read them."""

from typing import Any

import pytest

from tests.unit.service import TestService

pytestmark = pytest.mark.asyncio(loop_scope="module")

_RERANK = {"model": "reranker", "query": "q", "documents": ["a", "b", "c"]}
_BLANKS = ["", " ", "\n\t", "\u00a0", "\u200b", "\ufeff"]
_OBJECTS = [{"text": "a", "title": "A", "year": 1990}, {"title": "B", "text": "b"}]


async def rerank(service: TestService, path: str, **fields: Any) -> Any:
    answer = await service.post(path, json=_RERANK | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank", "/infinity/rerank"])
async def test_blank_documents_come_last_and_the_others_are_served(
    service: TestService, path: str
) -> None:
    answer = await rerank(service, path, documents=[*_BLANKS, "a", "b"])
    assert service.pipeline.asked == ("q", ["a", "b"], 4096 if "v2" in path else None)
    found = [(one["index"], one["relevance_score"]) for one in answer["results"]]
    assert found == [(6, 0.5), (7, 0.5), *((index, 0) for index in range(6))]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
async def test_nothing_but_blank_documents_is_refused(service: TestService, path: str) -> None:
    answer = await service.post(path, json=_RERANK | {"documents": _BLANKS})
    assert answer.status_code == 400
    assert "all documents are empty" in answer.json()["message"]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize(
    ("rank_fields", "texts"),
    [
        (None, ["a", "b", "c"]),
        (["text"], ["a", "b", "c"]),
        (["title", "text"], ["A\na", "B\nb", "c"]),
        (["year", "title"], ["1990\nA", "B", "c"]),
    ],
)
async def test_objects_are_ranked_by_the_fields_named(
    service: TestService, path: str, rank_fields: list[str] | None, texts: list[str]
) -> None:
    await rerank(service, path, documents=[*_OBJECTS, "c"], rank_fields=rank_fields)
    assert service.pipeline.asked[1] == texts


async def test_a_field_that_is_named_twice_is_ranked_once(service: TestService) -> None:
    names = ["title", "text", "title"]
    await rerank(service, "/v1/rerank", documents=_OBJECTS, rank_fields=names)
    assert service.pipeline.asked[1] == ["A\na", "B\nb"]


async def test_documents_come_back_as_they_were_sent_with_a_text(service: TestService) -> None:
    documents = [_OBJECTS[0], {"title": "B"}, "c"]
    asked = {"documents": documents, "rank_fields": ["title", "text"], "return_documents": True}
    for path in ("/v1/rerank", "/v2/rerank"):
        answer = await rerank(service, path, **asked)
        given = [one["document"] for one in answer["results"]]
        assert given == [_OBJECTS[0], {"text": "B", "title": "B"}, {"text": "c"}]


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize("fields", [{}, {"rank_fields": ["x"]}])
async def test_a_document_comes_back_as_deep_as_json_is_written_and_is_refused_beyond(
    service: TestService, path: str, fields: dict[str, Any]
) -> None:
    def body(levels: int, query: str) -> dict[str, Any]:
        nested: list[Any] = []
        for _ in range(levels - 1):
            nested = [nested]
        documents = ["a", {"text": "b", "x": nested}]
        asked = {"query": query, "documents": documents, "return_documents": True}
        return _RERANK | asked | fields

    sent = body(250, "as deep as may be")
    answer = await rerank(service, path, **sent)
    assert [one["document"] for one in answer["results"]][1] == sent["documents"][1]
    for levels in (251, 900):
        refused = await service.post(path, json=body(levels, "deeper"))
        assert refused.status_code == 400, levels
        assert "'documents.1' is nested too deeply: flatten it" in refused.json()["message"]
    assert service.pipeline.asked[0] == "as deep as may be", "nothing was computed"


@pytest.mark.parametrize(
    ("path", "fields", "document", "kind"),
    [
        ("/v1/rerank", {}, {"text": "a"}, "list"),
        ("/v1/rerank", {"return_documents": False}, None, "list"),
        ("/rerank", {}, {"text": "a"}, "list"),
        ("/v1/rerank", {"raw_scores": False}, None, "rerank"),
        ("/rerank", {"raw_scores": False, "return_documents": True}, "a", "rerank"),
        ("/infinity/rerank", {"return_documents": True}, "a", "rerank"),
        ("/v1/rerank", {"truncation": True}, None, "list"),
        ("/v1/rerank", {"top_k": 2, "return_documents": True}, {"text": "a"}, "list"),
    ],
)
async def test_each_vendors_clients_find_what_they_read(
    service: TestService, path: str, fields: dict[str, Any], document: Any, kind: str
) -> None:
    answer = await rerank(service, path, **fields)
    assert answer["object"] == kind
    first = answer["results"][0]
    assert first == {"index": 0, "relevance_score": 0.5} | (
        {} if document is None else {"document": document}
    )
    assert [one["index"] for one in answer["data"]] == [one["index"] for one in answer["results"]]


async def test_voyages_clients_find_documents_as_texts(service: TestService) -> None:
    answer = await rerank(service, "/v1/rerank", top_k=1, return_documents=True)
    assert answer["data"] == [{"index": 0, "relevance_score": 0.5, "document": "a"}]
    assert answer["usage"]["total_tokens"] == 3


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
@pytest.mark.parametrize(("documents", "units"), [(100, 1), (101, 2), (1_000, 10)])
async def test_a_search_unit_is_a_hundred_documents(
    service: TestService, path: str, documents: int, units: int
) -> None:
    answer = await rerank(service, path, documents=["a"] * documents)
    assert answer["meta"]["billed_units"] == {"search_units": units}
