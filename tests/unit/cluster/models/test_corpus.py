"""The corpus is a file of documents that the API accepts."""

import json
from pathlib import Path

import pytest

from cluster.documents import read_documents
from cluster.models.errors import ConversionError
from cluster.models.wikipedia import convert_summaries
from deployments.web.schemas import Document


def test_the_corpus_has_documents_with_ids_and_text(corpus: Path) -> None:
    [file] = corpus.glob("*.jsonl")
    documents = list(read_documents(file))
    assert len(documents) >= 2_000
    assert len({document["id"] for document in documents}) == len(documents)
    assert all(document["text"].strip() for document in documents)
    assert all(document["metadata"]["topic"] for document in documents)
    for document in documents:
        Document.model_validate(document)


def test_an_article_becomes_a_document(tmp_path: Path) -> None:
    article = {
        "title": "Café au lait",
        "extract": "A drink.",
        "description": "Drink",
        "topic": "Everyday life",
    }
    source = tmp_path / "articles.json"
    source.write_text(json.dumps({article["title"]: article}))
    convert_summaries(source, tmp_path)
    [document] = read_documents(tmp_path / "documents.jsonl")
    assert document == {
        "id": "Café_au_lait",
        "text": "A drink.",
        "metadata": {
            "title": "Café au lait",
            "topic": "Everyday life",
            "description": "Drink",
            "url": "https://en.wikipedia.org/wiki/Caf%C3%A9_au_lait",
        },
    }


@pytest.mark.parametrize("content", ["not json", "[]", '{"a": {"title": "a"}}', '{"a": 1}'])
def test_another_kind_of_file_is_refused(tmp_path: Path, content: str) -> None:
    source = tmp_path / "articles.json"
    source.write_text(content)
    with pytest.raises(ConversionError, match=r"articles\.json"):
        convert_summaries(source, tmp_path)
