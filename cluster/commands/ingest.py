"""`winnow ingest`: documents from files into a collection.

Keeps no state and is repeatable: every document's id follows from its file, and a document that is
already stored word for word is not embedded again. So repeating an interrupted run finishes it.
"""

from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from cluster.client import ApiError, WinnowClient
from cluster.commands.session import ApiKey, CommandError, Url, open_client, open_console
from cluster.documents import Document, UnreadableFileError, is_chunked, read_documents, source_of

_BATCH_DOCUMENTS = 128
_TOO_LARGE = 413
_NAMED_DOCUMENTS = 3


def ingest(
    collection: str,
    files: Annotated[list[Path], typer.Argument(exists=True, dir_okay=False)],
    limit: Annotated[int | None, typer.Option(help="At most this many documents a file.")] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Store FILES (JSON lines with id, text, metadata; or text and Markdown) in COLLECTION."""
    console = open_console()
    client = open_client(url, api_key)
    client.create_collection(collection)
    for path in files:
        ingest_file(console, client, collection, path, limit)


def ingest_file(
    console: Console, client: WinnowClient, collection: str, path: Path, limit: int | None
) -> None:
    """Store one file, with a progress bar; each batch is on disk before the next is sent.

    Raises CommandError for a file that cannot be read, before anything is stored, and ApiError.
    """
    try:
        read = list(islice(read_documents(path), limit))
    except UnreadableFileError as error:
        raise CommandError(str(error)) from error
    documents = list({document["id"]: document for document in read}.values())
    if len(documents) < len(read):
        again = len(read) - len(documents)
        console.print(f"{path.name}: of {again} ids that come again the last document is taken")
    stored, truncated = 0, list[str]()
    try:
        with _progress_bar(console) as bar:
            task = bar.add_task(path.name, total=len(documents))
            for batch in _batches(documents):
                fresh = _not_stored(client, collection, batch)
                _upsert(client, collection, fresh, truncated)
                stored += len(fresh)
                bar.advance(task, len(batch))
        if is_chunked(path) and limit is None:
            _delete_beyond(client, collection, path, len(documents))
        same = len(documents) - stored
        console.print(f"{path.name}: {stored} documents stored, {same} were there already")
    finally:
        # When an interrupted run is repeated, these are there already, and nothing tells of them.
        if truncated:
            console.print(_truncation(path, truncated), markup=False)


def _truncation(path: Path, ids: list[str]) -> str:
    named = ", ".join(ids[:_NAMED_DOCUMENTS]) + (", ..." if len(ids) > _NAMED_DOCUMENTS else "")
    return (
        f"{path.name}: {len(ids)} documents are longer than the embedder reads and are found by"
        f" their beginning alone: split them ({named})"
    )


def _upsert(
    client: WinnowClient, collection: str, documents: list[Document], truncated: list[str]
) -> None:
    """Store documents, in halves if they are too large for one request; add to `truncated` the ids
    of those that were embedded by their beginning alone."""
    if not documents:
        return
    try:
        truncated += client.upsert(collection, documents).get("truncated", [])
    except ApiError as error:
        if error.status != _TOO_LARGE:
            raise
        if len(documents) == 1:
            raise CommandError(f"document {documents[0]['id']!r}: {error}") from error
        half = len(documents) // 2
        _upsert(client, collection, documents[:half], truncated)
        _upsert(client, collection, documents[half:], truncated)


def _batches(documents: Iterable[Document]) -> Iterator[list[Document]]:
    iterator = iter(documents)
    while batch := list(islice(iterator, _BATCH_DOCUMENTS)):
        yield batch


def _not_stored(client: WinnowClient, collection: str, batch: list[Document]) -> list[Document]:
    """The documents that are not stored as they are, asked for in halves if those that are there
    are too large for one answer."""
    try:
        there = client.get_documents(collection, [document["id"] for document in batch])
    except ApiError as error:
        if error.status != _TOO_LARGE or len(batch) == 1:
            raise
        half = len(batch) // 2
        return [
            *_not_stored(client, collection, batch[:half]),
            *_not_stored(client, collection, batch[half:]),
        ]
    return [new for new, old in zip(batch, there, strict=True) if new != old]


def _delete_beyond(client: WinnowClient, collection: str, path: Path, chunks: int) -> None:
    """Delete the chunks that a longer version of the file left behind."""
    client.delete_where(collection, {"source": source_of(path), "chunk": {"$gte": chunks}})


def _progress_bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents"),
        TimeRemainingColumn(),
        console=console,
    )
