"""Convert Wikipedia summaries to a corpus: JSON lines of documents as the API takes them."""

import json
from pathlib import Path
from typing import TypedDict
from urllib.parse import quote

from cluster.models.errors import ConversionError

_CORPUS = "documents.jsonl"


class _Article(TypedDict):
    title: str
    extract: str
    description: str
    topic: str


def convert_summaries(articles: Path, directory: Path) -> None:
    """Write a JSON file of articles, {title: {title, extract, description, topic}}, as documents.

    A document is {"id", "text", "metadata": {"title", "topic", "description", "url"}}; its text is
    the article's introduction, without the title. Raises ConversionError for another kind of file.
    """
    try:
        found: dict[str, _Article] = json.loads(articles.read_text(encoding="utf-8"))
        lines = [_line(article) for article in found.values()]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConversionError(f"{articles.name} is not a file of summaries: {error!r}") from error
    (directory / _CORPUS).write_text("".join(lines), encoding="utf-8")


def _line(article: _Article) -> str:
    page = article["title"].replace(" ", "_")
    document = {
        "id": page,
        "text": article["extract"],
        "metadata": {
            "title": article["title"],
            "topic": article["topic"],
            "description": article["description"],
            # The licence asks each text to name its authors: the page lists them.
            "url": f"https://en.wikipedia.org/wiki/{quote(page)}",
        },
    }
    return json.dumps(document, ensure_ascii=False) + "\n"
