"""The search result that every server under test sends, so that all send about as many bytes."""

from typing import Any

_TEXT = (
    "Document {} of this list is as long as a passage of the benchmark: thirty or so of the words"
    " that make up the tokens which a reranker would have to read, had it anything to do here."
)

DOCUMENTS = [_TEXT.format(number) for number in range(100)]

ANSWER: dict[str, Any] = {
    "results": [
        {
            "id": str(number),
            "text": DOCUMENTS[number],
            "metadata": {},
            "relevance_score": 0.5,
            "retrieval_score": 0.5,
        }
        for number in range(5)
    ],
    "usage": {"embed_tokens": 14, "rerank_tokens": 900, "total_tokens": 914, "candidates": 20},
}
