"""No route cuts a text in silence: Winnow's own say it in the answer, the vendors' in a header."""

from typing import Any

import httpx
import pytest

from tests.whole.app import WholeApp

_PATH = "/v1/collections/truncation"
_LONG = "horse " * 2_000
_HEADER = "x-winnow-truncated"


def _ask(whole: WholeApp, url: str, path: str, body: dict[str, Any]) -> httpx.Response:
    with whole.client(url, "alice") as client:
        answer = client.post(path, json=body)
    assert answer.status_code == 200, answer.text
    return answer


def test_an_upsert_names_the_documents_that_it_cut(whole: WholeApp, url: str) -> None:
    with whole.client(url, "alice") as client:
        client.put(_PATH)
    documents = [
        {"id": "a", "text": _LONG},
        {"id": "b", "text": "a mule"},
        {"id": "c", "text": _LONG},
        {"id": "a", "text": "a donkey"},
    ]
    answer = _ask(whole, url, f"{_PATH}/documents", {"documents": documents}).json()
    assert answer["upserted"] == 3
    assert answer["truncated"] == ["c"]


def test_a_search_tells_what_was_read_by_its_beginning(whole: WholeApp, url: str) -> None:
    with whole.client(url, "alice") as client:
        client.put(_PATH)
    documents = [{"id": id, "text": text} for id, text in (("b", "a mule"), ("c", _LONG))]
    _ask(whole, url, f"{_PATH}/documents", {"documents": documents})

    def search(**fields: Any) -> Any:
        body = {"collection": "truncation", "query": "who neighs?"} | fields
        return _ask(whole, url, "/v1/search", body).json().get("truncated")

    assert search() == {"query": False, "candidates": 1}
    assert search(rerank=False) is None
    assert search(rerank=False, query=_LONG) == {"query": True, "candidates": 0}
    assert search(filter={"kind": "none"}) is None


@pytest.mark.parametrize(
    ("path", "texts"),
    [("/v1/embeddings", "input"), ("/v1/embed", "texts"), ("/v2/embed", "texts")],
)
def test_embeddings_tell_which_texts_were_cut(
    whole: WholeApp, url: str, path: str, texts: str
) -> None:
    body = {texts: ["a mule", _LONG, "a donkey", _LONG], "truncate": "END"}
    body |= {} if path == "/v1/embeddings" else {"input_type": "search_document"}
    assert _ask(whole, url, path, body).headers[_HEADER] == "1, 3"
    assert _HEADER not in _ask(whole, url, path, body | {texts: ["a mule"]}).headers


@pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank"])
def test_reranks_tell_which_documents_were_cut(whole: WholeApp, url: str, path: str) -> None:
    body = {"query": "who neighs?", "documents": ["", "a mule", _LONG]}
    assert _ask(whole, url, path, body).headers[_HEADER] == "2"
    assert _HEADER not in _ask(whole, url, path, body | {"documents": ["a mule"]}).headers


def test_the_header_is_short_however_many_were_cut(whole: WholeApp, url: str) -> None:
    body = {"query": "who?", "documents": ["a mule or a donkey"] * 400, "max_tokens_per_doc": 1}
    told = _ask(whole, url, "/v1/rerank", body).headers[_HEADER]
    assert told.startswith("0, 1, 2, ")
    assert told.endswith(", ...")
    assert len(told) < 600
