"""Documents read from files: JSON lines as they are, text and Markdown in chunks.

A chunk fits the context of a small embedding model. Its id is the file's path from here (from the
root, if the file is not below here) and the chunk's number, so reading a file again gives the same
documents. Knows no service.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from semantic_text_splitter import MarkdownSplitter, TextSplitter

# About 250 tokens of English, within the 512 of small models.
_CHUNK_CHARACTERS = (700, 1_000)
_JSON_LINES = (".jsonl", ".ndjson")
_FIELDS = ("id", "text", "metadata")
# Read as text, each would be stored as one.
_OTHER_FORMATS = (".csv", ".tsv", ".json", ".parquet", ".gz", ".zip", ".pdf", ".docx")
_PDF = b"%PDF-"

Document = dict[str, Any]


class UnreadableFileError(Exception):
    """A file does not have the format its name says; the message names the file and the line."""


def read_documents(path: Path) -> Iterator[Document]:
    """Yield documents as the API takes them: id, text, metadata. Raises UnreadableFileError."""
    _refuse_other_formats(path)
    yield from _chunks(path) if is_chunked(path) else _json_lines(path)


def is_chunked(path: Path) -> bool:
    """True for a file of text, False for one of JSON lines."""
    return path.suffix not in _JSON_LINES


def _refuse_other_formats(path: Path) -> None:
    if path.suffix.lower() in _OTHER_FORMATS or _beginning(path) == _PDF:
        raise UnreadableFileError(
            f"{path}: neither text nor JSON lines: write its documents into a .jsonl file, each a"
            ' line as {"id": ..., "text": ..., "metadata": {...}}, or its text into a .txt file'
        )


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(len(_PDF))


def source_of(path: Path) -> str:
    """Return the relative path that a file's chunks carry, the same however `path` is written."""
    return Path(os.path.relpath(path)).as_posix()


def _id_of(path: Path) -> str:
    """Return `source_of`, but without the '..' that no id may have."""
    source = source_of(path)
    return os.path.abspath(path) if source.startswith("../") else source


def _json_lines(path: Path) -> Iterator[Document]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                # As the service reads it: neither NaN, half of a character nor bytes but UTF-8.
                yield _document(orjson.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise UnreadableFileError(
                    f"{path}:{number}: not a document as JSON ({error})"
                ) from error


def _document(line: Document) -> Document:
    """Raises ValueError, KeyError or TypeError, with what is wrong."""
    id, text = line["id"], line["text"]
    # A number of more than 64 bits is read as a float, and no longer the number that was written.
    if isinstance(id, bool) or not isinstance(id, str | int):
        raise ValueError("its id is neither a text nor a whole number of 64 bits")
    if not isinstance(text, str) or not text.strip():
        raise ValueError("its text is blank: leave the document out")
    if unknown := line.keys() - set(_FIELDS):
        raise ValueError(f"{min(unknown)!r} is no field of a document: put it into 'metadata'")
    return {"id": str(id), "text": text, "metadata": line.get("metadata", {})}


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
    # Numbered without gaps: what a longer version left behind is found by the number of chunks.
    kept = (found for found in splitter.chunk_indices(text) if found[1].strip())
    for number, (offset, chunk) in enumerate(kept):
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
