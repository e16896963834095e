"""Inputs of an embeddings request (blank texts, token ids), and the form of its vectors."""

import base64
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deployments.errors import InvalidRequest
from deployments.text.prompts import Cut
from deployments.text.token_ids import TokenVocabulary
from tests.unit.service import TestService

pytestmark = pytest.mark.asyncio(loop_scope="module")

_VECTOR = np.array([0.6, -0.8], "<f4")


async def embed(service: TestService, **fields: Any) -> Any:
    answer = await service.post("/v1/embeddings", json={"input": "x"} | fields)
    assert answer.status_code == 200, answer.text
    return answer.json()["data"]


@pytest.mark.parametrize("blank", [" ", "\n", "\u00a0", "\u200b", "\ufeff"])
async def test_a_blank_text_has_a_vector(service: TestService, blank: str) -> None:
    assert len(await embed(service, input=["a", blank])) == 2
    body = {"texts": ["a", blank], "input_type": "search_document"}
    for path in ("/v1/embed", "/v2/embed"):
        assert (await service.post(path, json=body)).status_code == 200


async def test_an_empty_text_has_none(service: TestService) -> None:
    answer = await service.post("/v1/embeddings", json={"input": ["a", ""]})
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "input.1"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"embedding_type": "ubinary"}, [0b10000000]),
        ({"embedding_type": "binary"}, [0]),
        ({"output_dtype": "int8"}, [76, -102]),
        ({"output_dtype": "uint8"}, [204, 26]),
        ({"embedding_type": "base64"}, base64.b64encode(_VECTOR.tobytes()).decode()),
        ({"encoding_type": "base64"}, base64.b64encode(_VECTOR.tobytes()).decode()),
        ({"encoding_format": "base64"}, base64.b64encode(_VECTOR.tobytes()).decode()),
        (
            {"encoding_format": "base64", "output_dtype": "int8"},
            base64.b64encode(np.array([76, -102], np.int8).tobytes()).decode(),
        ),
    ],
)
async def test_components_are_of_the_type_asked_for(
    service: TestService, fields: dict[str, str], expected: Any
) -> None:
    [item] = await embed(service, **fields)
    assert item["embedding"] == expected


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/embeddings", {"input": "x", "dimensions": 7}),
        ("/v1/embeddings", {"input": "x", "output_dimension": 7}),
        ("/v2/embed", {"texts": ["x"], "input_type": "clustering", "output_dimension": 7}),
    ],
)
async def test_a_width_that_the_model_has_not_is_refused_before_anything_is_embedded(
    service: TestService, path: str, body: dict[str, Any]
) -> None:
    service.pipeline.asked = ()
    answer = await service.post(path, json=body)
    assert answer.status_code == 400
    assert "no vectors of 7 dimensions: it gives 2 only" in answer.text
    assert service.pipeline.asked == ()


async def test_coheres_first_version_gets_floats_or_types(service: TestService) -> None:
    body = {"model": "embedder", "texts": ["a", "b"]}
    floats = (await service.post("/v1/embed", json=body)).json()
    assert floats["response_type"] == "embeddings_floats"
    assert np.allclose(floats["embeddings"], [_VECTOR, _VECTOR])
    assert service.pipeline.asked[0] == "documents"
    typed = body | {"embedding_types": ["int8", "float"], "input_type": "search_query"}
    by_type = (await service.post("/v1/embed", json=typed)).json()
    assert by_type["response_type"] == "embeddings_by_type"
    assert by_type["embeddings"]["int8"] == [[76, -102], [76, -102]]
    assert by_type["meta"]["api_version"] == {"version": "1"}
    assert service.pipeline.asked[0] == "queries"


@pytest.mark.parametrize("given", [[1, 2], [[1, 2], [3]]])
async def test_token_ids_are_refused_with_what_to_change(
    service: TestService, given: list[Any]
) -> None:
    answer = await service.post("/v1/embeddings", json={"input": given})
    assert answer.status_code == 400
    for way in ("check_embedding_ctx_length=False", "router.token_id_vocabulary"):
        assert way in answer.json()["error"]["message"]


async def test_an_operator_may_have_token_ids_read_and_long_texts_cut(tmp_path: Path) -> None:
    vocabulary = TokenVocabulary({1: b"hello", 2: b" world", 3: b"\0"})
    service = await TestService.open(tmp_path, vocabulary=vocabulary, truncate="END")
    try:
        await embed(service, input=[[1, 2], [2]])
        assert service.pipeline.asked == ("documents", ["hello world", " world"], Cut())
        await embed(service, input=[1], truncate="NONE")
        assert service.pipeline.asked == ("documents", ["hello"], None)
        await embed(service, input=[1], truncate_prompt_tokens=9)
        assert service.pipeline.asked == ("documents", ["hello"], Cut(9))
        for wrong in ([4], [3]):
            answer = await service.post("/v1/embeddings", json={"input": wrong})
            assert answer.status_code == 400
            assert answer.json()["error"]["param"] == "input"
    finally:
        await service.close()


async def test_token_ids_are_read_by_a_vocabulary_in_tiktokens_format(tmp_path: Path) -> None:
    file = tmp_path / "three.tiktoken"
    pieces = [b"hello", b" world", "é".encode()[:1]]
    lines = [base64.b64encode(piece) + b" %d" % id for id, piece in enumerate(pieces)]
    file.write_bytes(b"\n".join(lines) + b"\n")
    vocabulary = TokenVocabulary.load(file)
    assert vocabulary.text([0, 1]) == "hello world"
    assert vocabulary.text([0, 2]) == "hello\ufffd"
    with pytest.raises(InvalidRequest, match="token id 3"):
        vocabulary.text([0, 3])


@pytest.mark.parametrize("content", [b"", b"{}", b"not base64! x", b"aGk= one"])
async def test_a_file_that_is_no_vocabulary_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "some.file"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=str(file)):
        TokenVocabulary.load(file)
