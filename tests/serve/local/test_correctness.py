"""The `local` models through the whole service against plain transformers."""

import httpx
import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForSequenceClassification, AutoTokenizer

from tests.models import model_directory
from tests.serve.cluster import post

_TEXTS = [
    "How many people live in Berlin?",
    "Berlin has a population of 3,520,031 registered inhabitants in an area of 891.82 km².",
    "x",
    "Ünïcödé, emoji 🙂 and 漢字 in one line\nand a second line\tand a tab.",
    "lorem ipsum dolor sit amet " * 28,
]


@pytest.fixture(scope="module")
def reference_vectors() -> np.ndarray:
    """Mean pooling over the attention mask, then L2 norm, as the model card does it."""
    directory = model_directory("all-MiniLM-L6-v2")
    tokenizer, model = (
        AutoTokenizer.from_pretrained(directory),
        AutoModel.from_pretrained(directory),
    )
    vectors = []
    for text in _TEXTS:
        batch = tokenizer(text, return_tensors="pt", truncation=True, max_length=256)
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state[0]
        vectors.append(torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy())
    return np.stack(vectors)


def test_embeddings_equal_mean_pooling(api: httpx.Client, reference_vectors: np.ndarray) -> None:
    body = {"model": "all-MiniLM-L6-v2", "input": _TEXTS}
    ours = np.array([d["embedding"] for d in post(api, "/v1/embeddings", body)["data"]])
    cosines = (ours * reference_vectors).sum(1)
    assert cosines.min() >= 0.999, cosines


def test_rerank_equals_the_cross_encoder(api: httpx.Client) -> None:
    directory = model_directory("ms-marco-MiniLM-L-12-v2")
    tokenizer = AutoTokenizer.from_pretrained(directory)
    model = AutoModelForSequenceClassification.from_pretrained(directory)
    query, documents = _TEXTS[0], [*_TEXTS[1:], "word " * 900]
    expected = []
    for document in documents:
        pair = tokenizer(
            query, document, return_tensors="pt", truncation="only_second", max_length=512
        )
        with torch.no_grad():
            expected.append(torch.sigmoid(model(**pair).logits[0, 0]).item())
    answer = post(api, "/v1/rerank", {"query": query, "documents": documents})
    ours = {result["index"]: result["relevance_score"] for result in answer["results"]}
    for index, score in enumerate(expected):
        assert ours[index] == pytest.approx(score, abs=0.002), documents[index][:40]
    best_first = sorted(range(len(documents)), key=lambda index: -expected[index])
    assert [result["index"] for result in answer["results"]][:2] == best_first[:2]
