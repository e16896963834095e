"""Bodies as clients send them, and what is said of those that cannot be read: the field at fault by
the sender's own names."""

import gzip
import sys
from typing import Any

import orjson
import pytest

from deployments.errors import InvalidRequest
from deployments.web import body, error_handlers
from deployments.web.error_handlers import invalid_request
from tests.unit.service import TestService

pytestmark = pytest.mark.asyncio(loop_scope="module")

_EMBED = {"model": "embedder", "input": "x"}
_RERANK = {"model": "reranker", "query": "q", "documents": ["a"]}
_JSON = {"content-type": "application/json"}
_UPSERT = "/v1/collections/c/documents"


async def refusal(
    service: TestService, path: str, body: Any, headers: dict[str, str] | None = None
) -> dict[str, Any]:
    content = body if isinstance(body, bytes) else orjson.dumps(body)
    answer = await service.post(path, content=content, headers=_JSON | (headers or {}))
    assert 400 <= answer.status_code < 500, answer.text
    error: dict[str, Any] = answer.json()["error"]
    return error | {"status": answer.status_code}


@pytest.mark.parametrize("headers", [_JSON, {}], ids=["said to be JSON", "not said"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte order mark"])
async def test_json_is_read_with_a_mark_and_without_a_type(
    service: TestService, headers: dict[str, str], mark: bytes
) -> None:
    content = mark + orjson.dumps(_EMBED)
    answer = await service.post("/v1/embeddings", content=content, headers=headers)
    assert answer.status_code == 200, answer.text


async def test_another_type_is_told_which_to_send(service: TestService) -> None:
    error = await refusal(service, "/v1/embeddings", _EMBED, {"content-type": "text/plain"})
    assert "Content-Type: application/json" in error["message"]


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate"])
async def test_a_compressed_body_is_refused_by_its_encoding(
    service: TestService, encoding: str
) -> None:
    body = gzip.compress(orjson.dumps(_EMBED))
    error = await refusal(service, "/v1/embeddings", body, {"content-encoding": encoding})
    assert error["status"] == 415
    assert f"'{encoding}'" in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/v1/embeddings", rb'{"input":["fine","broken \ud83d"]}', "input.1"),
        ("/v1/rerank", rb'{"query":"\udc00 q","documents":["a"]}', "query"),
        (_UPSERT, rb'{"documents":[{"id":"x","text":"a\ud83d"}]}', "documents.0.text"),
        ("/v1/embeddings", rb'{"input":"x","\ud83d":1}', "?"),
    ],
)
async def test_a_lone_surrogate_is_named_with_its_field(
    service: TestService, path: str, body: bytes, field: str
) -> None:
    error = await refusal(service, path, body)
    assert f"'{field}' holds a lone surrogate" in error["message"]
    assert error["param"] == field


async def test_a_lone_surrogate_is_looked_for_once(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: list[bytes] = []

    def look(content: bytes) -> None:
        looked.append(content)
        look_for(content)

    look_for = body._name_lone_surrogate
    monkeypatch.setattr(body, "_name_lone_surrogate", look)
    await refusal(service, "/v1/embeddings", rb'{"input":"broken \ud83d"}')
    assert len(looked) == 1


def test_a_lone_surrogate_is_found_in_a_step_a_text_however_deep() -> None:
    steps = 0

    def count(_: object, event: str, __: object) -> None:
        nonlocal steps
        steps += event == "call"

    deep, texts = 300, 1_000
    content = b"[" * deep + b'"a",' * texts + rb'"\ud800"' + b"]" * deep
    sys.setprofile(count)
    try:
        with pytest.raises(InvalidRequest) as refused:
            body._name_lone_surrogate(content)
    finally:
        sys.setprofile(None)
    assert refused.value.param == ".".join(["0"] * (deep - 1) + [str(texts)])
    assert steps < 10 * (deep + texts)


@pytest.mark.parametrize(
    ("path", "content", "param", "most"),
    [
        ("/v1/search", b'{"collection":"c","query":"x",%s}', "k0", 10),
        (_UPSERT, b'{"documents":[{"id":"1","text":"x",%s}]}', "documents.0.k0", 10),
        (
            _UPSERT,
            b'{"documents":[{"id":"1","text":"x","metadata":{%s}}]}',
            "documents.0.metadata.k0",
            6,
        ),
        (
            _UPSERT,
            b'{"documents":[{"id":"1","text":"x","metadata":{"a":[%s]}}]}',
            "documents.0.metadata.a",
            6,
        ),
        ("/v2/embed", b'{"texts":["x"],"input_type":"clustering","embedding_types":[%s]}', "", 17),
        ("/v1/embed", b'{"texts":["x"],"embedding_types":[%s]}', "", 17),
        ("/v1/search", b'{"collection":"c","query":"x","include":[%s]}', "include", 17),
        ("/v1/rerank", b'{"query":"q","documents":["x"],"rank_fields":[%s]}', "rank_fields", 101),
        ("/v1/embeddings", b'{"input":[1,%s]}', "input.1", 1),
        ("/v1/embeddings", b'{"input":[[%s]]}', "input.0.0", 1),
        ("/v1/admin/keys", b'{"tenant":"t","scopes":[%s]}', "scopes", 17),
    ],
)
async def test_of_a_body_full_of_faults_few_are_described(
    service: TestService,
    monkeypatch: pytest.MonkeyPatch,
    path: str,
    content: bytes,
    param: str,
    most: int,
) -> None:
    described: list[int] = []

    def note(problems: Any, sent: Any) -> InvalidRequest:
        described.append(len(problems))
        return invalid_request(problems, sent)

    monkeypatch.setattr(error_handlers, "invalid_request", note)
    item = b"[]" if b"[%s" in content or b",%s]" in content else b'"k%d":[[]]'
    items = [item.replace(b"%d", b"%d" % number) for number in range(1_000)]
    answer = await service.post(path, content=content % b",".join(items), headers=_JSON)
    assert answer.status_code == 400, answer.text
    assert answer.json().get("error", {}).get("param", "") == param
    assert 1 <= described[0] <= most


@pytest.mark.parametrize(
    ("path", "body", "param", "said"),
    [
        ("/v1/rerank", _RERANK | {"documents": ["a", 3]}, "documents.1", "a valid string"),
        ("/v1/rerank", _RERANK | {"documents": ["a", {"text": 3}]}, "documents.1.text", "string"),
        ("/v1/embeddings", _EMBED | {"input": ["a", 3]}, "input.1", "a valid string"),
        ("/v1/embeddings", _EMBED | {"input": [{}]}, "input.0.text", "Field required"),
        ("/v1/embeddings", _EMBED | {"input": [[1], ["a"]]}, "input.1.0", "integer"),
        ("/v1/embeddings", _EMBED | {"input": [[]]}, "input.0", "at least 1 item"),
        (_UPSERT, {"documents": [{"id": "a", "text": " "}]}, "documents.0.text", "is empty"),
        (_UPSERT, {"documents": [{"id": "a", "text": "\u200b"}]}, "documents.0.text", "is empty"),
        (_UPSERT, {"documents": [{"id": "a"}]}, "documents.0.text", "Field required"),
        (
            _UPSERT,
            {"documents": [{"id": "a", "text": "a", "metadata": {"k": {}}}]},
            "documents.0.metadata.k",
            "a valid string, or integer, or number, or boolean, or list",
        ),
    ],
)
async def test_a_field_is_named_as_it_was_sent(
    service: TestService, path: str, body: Any, param: str, said: str
) -> None:
    error = await refusal(service, path, body)
    assert error["param"] == param
    assert f"'{param}': " in error["message"]
    assert said in error["message"]
    assert not any(inner in error["message"] for inner in ("[", "constrained", "as text"))


async def test_three_fields_are_named_and_the_rest_counted(service: TestService) -> None:
    body = _RERANK | {"documents": ["a", *range(6)]}
    message = (await refusal(service, "/v1/rerank", body))["message"]
    assert message.count("documents.") == 3
    assert message.endswith("and 3 more problems")


@pytest.mark.parametrize("path", ["/v1/embeddings", "/embeddings", "/rerank", "/v1/models/no"])
async def test_jinas_clients_find_the_detail_of_an_error(service: TestService, path: str) -> None:
    method = "GET" if "models" in path else "POST"
    answer = await service.send(method, path, json=_EMBED | {"model": "no"} | {"query": 1})
    body = answer.json()
    assert body["detail"] == body["message"] == body["error"]["message"]


async def test_coheres_clients_find_the_message_of_an_error(service: TestService) -> None:
    answer = await service.post("/v1/embed", json={"model": "no", "texts": ["a"]})
    assert answer.status_code == 404
    assert set(answer.json()) == {"message", "id"}
