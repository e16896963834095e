"""Documents out of files: JSON lines as they are, text and Markdown in chunks.

A chunk is short enough for a small embedding model to read whole. Its id is the file's path from
here (from the root, if the file is not below here) and its number, so reading a file again gives
the same documents.
"""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from semantic_text_splitter import MarkdownSplitter, TextSplitter

# About 250 tokens of English: well inside the 512 that small models read.
_CHUNK_CHARACTERS = (700, 1_000)
_JSON_LINES = (".jsonl", ".ndjson")

Document = dict[str, Any]


class UnreadableFileError(Exception):
    """A file is not what its name says; the message names the line."""


def read_documents(path: Path) -> Iterator[Document]:
    """Documents as the API takes them: id, text, metadata."""
    yield from _chunks(path) if is_chunked(path) else _json_lines(path)


def is_chunked(path: Path) -> bool:
    return path.suffix not in _JSON_LINES


def source_of(path: Path) -> str:
    """What the chunks of a file name as their source: one text for every way to write its path."""
    return Path(os.path.relpath(path)).as_posix()


def _id_of(path: Path) -> str:
    """As `source_of`, but without the '..' that no id may have."""
    source = source_of(path)
    return os.path.abspath(path) if source.startswith("../") else source


def _json_lines(path: Path) -> Iterator[Document]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                document: Document = json.loads(line)
                id, text = document["id"], document["text"]
            except (ValueError, KeyError, TypeError) as error:
                raise UnreadableFileError(
                    f"{path}:{number}: not a JSON object with id and text ({error})"
                ) from error
            yield {"id": str(id), "text": text, "metadata": document.get("metadata", {})}


def _chunks(path: Path) -> Iterator[Document]:
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableFileError(f"{path}: not UTF-8 text ({error})") from error
    splitter = (
        MarkdownSplitter(_CHUNK_CHARACTERS)
        if path.suffix in (".md", ".markdown")
        else TextSplitter(_CHUNK_CHARACTERS)
    )
    for number, (offset, chunk) in enumerate(splitter.chunk_indices(text)):
        if chunk.strip():
            yield {
                "id": f"{_id_of(path)}#{number}",
                "text": chunk,
                "metadata": {
                    "title": path.name,
                    "source": source_of(path),
                    "chunk": number,
                    "offset": offset,
                },
            }
