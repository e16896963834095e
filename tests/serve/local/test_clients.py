"""The clients application teams use, unmodified, each doing its main call."""

from collections.abc import Sequence

import cohere
import numpy as np
import openai
import pytest
from langchain_openai import OpenAIEmbeddings
from llama_index.core.schema import NodeWithScore, TextNode
from llama_index.postprocessor.jinaai_rerank import JinaRerank
from pydantic import SecretStr
from voyageai.client import Client as VoyageClient

from tests.serve.cluster import Cluster

_EMBEDDER = "all-MiniLM-L6-v2"
_RERANKER = "ms-marco-MiniLM-L-12-v2"
_QUERY = "How many people live in Berlin?"
_DOCUMENTS = [
    "New York City is famous for the Metropolitan Museum of Art.",
    "Berlin has a population of 3,520,031 registered inhabitants.",
]


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return float(np.dot(a, b))


def test_openai(local: Cluster) -> None:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key=local.api_key) as client:
        answer = client.embeddings.create(model=_EMBEDDER, input=[_QUERY, *_DOCUMENTS])
        query, museum, berlin = (item.embedding for item in answer.data)
        assert cosine(query, berlin) > 0.7 > cosine(query, museum)
        assert answer.usage.total_tokens > 30
        assert _EMBEDDER in [model.id for model in client.models.list()]


def test_openai_reads_our_errors(local: Cluster) -> None:
    with openai.OpenAI(base_url=f"{local.url}/v1", api_key=local.api_key) as client:
        with pytest.raises(openai.NotFoundError, match=_EMBEDDER):
            client.embeddings.create(model="text-embedding-3-small", input="x")
        with pytest.raises(openai.BadRequestError, match="384 only"):
            client.embeddings.create(model=_EMBEDDER, input="x", dimensions=8)
    wrong = openai.OpenAI(base_url=f"{local.url}/v1", api_key="wrong")
    with pytest.raises(openai.AuthenticationError):
        wrong.embeddings.create(model=_EMBEDDER, input="x")


def test_cohere(local: Cluster) -> None:
    client = cohere.ClientV2(api_key=local.api_key, base_url=local.url)
    ranked = client.rerank(model=_RERANKER, query=_QUERY, documents=_DOCUMENTS, top_n=1)
    assert [result.index for result in ranked.results] == [1]
    assert ranked.results[0].relevance_score > 0.99
    embedded = client.embed(
        model=_EMBEDDER,
        texts=_DOCUMENTS,
        input_type="search_document",
        embedding_types=["float", "ubinary"],
    )
    assert embedded.embeddings.float_ is not None
    assert [len(vector) for vector in embedded.embeddings.float_] == [384, 384]
    with pytest.raises(cohere.errors.NotFoundError):
        client.rerank(model="rerank-v3.5", query=_QUERY, documents=_DOCUMENTS)


def test_azure_openai(local: Cluster) -> None:
    with openai.AzureOpenAI(
        azure_endpoint=local.url, api_key=local.api_key, api_version="2024-10-21"
    ) as client:
        answer = client.embeddings.create(model=_EMBEDDER, input=_QUERY)
        assert len(answer.data[0].embedding) == 384


def test_cohere_v1(local: Cluster) -> None:
    client = cohere.Client(api_key=local.api_key, base_url=local.url)
    ranked = client.rerank(
        model=_RERANKER, query=_QUERY, documents=_DOCUMENTS, return_documents=True
    )
    assert [result.index for result in ranked.results] == [1, 0]
    objects = [{"place": "Berlin", "text": text} for text in ["", *_DOCUMENTS]]
    ranked = client.rerank(model=_RERANKER, query=_QUERY, documents=objects)
    assert [result.index for result in ranked.results] == [2, 1, 0]
    floats = client.embed(model=_EMBEDDER, texts=_DOCUMENTS, input_type="search_document")
    by_type = client.embed(
        model=_EMBEDDER, texts=_DOCUMENTS, input_type="search_document", embedding_types=["float"]
    )
    assert isinstance(floats.embeddings, list)
    assert not isinstance(by_type.embeddings, list)
    assert by_type.embeddings.float_ is not None
    assert cosine(floats.embeddings[0], by_type.embeddings.float_[0]) > 0.999


def test_voyage(local: Cluster) -> None:
    client = VoyageClient(api_key=local.api_key, base_url=f"{local.url}/v1")
    embedded = client.embed([_QUERY, *_DOCUMENTS], model=_EMBEDDER, input_type="document")
    query, museum, berlin = embedded.embeddings
    assert cosine(query, berlin) > 0.7 > cosine(query, museum)
    assert embedded.total_tokens > 30
    ranked = client.rerank(_QUERY, _DOCUMENTS, model=_RERANKER, top_k=1)
    assert [result.document for result in ranked.results] == [_DOCUMENTS[1]]


def test_langchain(local: Cluster) -> None:
    embeddings = OpenAIEmbeddings(
        model=_EMBEDDER,
        base_url=f"{local.url}/v1",
        api_key=SecretStr(local.api_key),
        check_embedding_ctx_length=False,
    )
    query = embeddings.embed_query(_QUERY)
    museum, berlin = embeddings.embed_documents(_DOCUMENTS)
    assert cosine(query, berlin) > cosine(query, museum)


def test_llama_index(local: Cluster) -> None:
    reranker = JinaRerank(
        model=_RERANKER, base_url=f"{local.url}/v1", api_key=local.api_key, top_n=1
    )
    nodes = [NodeWithScore(node=TextNode(text=text)) for text in _DOCUMENTS]
    [best] = reranker.postprocess_nodes(nodes, query_str=_QUERY)
    assert best.node.get_content() == _DOCUMENTS[1]
    assert best.score is not None
    assert best.score > 0.99
