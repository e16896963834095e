"""`winnow ingest` before a service that limits the size of requests and answers."""

import json
from pathlib import Path
from typing import Any, cast

import pytest
from rich.console import Console

from cluster.client import ApiError, WinnowClient
from cluster.commands.ingest import ingest_file
from cluster.commands.session import CommandError

_TOO_MANY_CHARACTERS = 1000


class Service:
    """Stores documents; a request or an answer of more than 1,000 characters is a 413."""

    def __init__(self) -> None:
        self.kept: dict[str, dict[str, Any]] = {}
        self.upserts = 0

    def upsert(self, collection: str, documents: list[dict[str, Any]]) -> dict[str, Any]:  # noqa: ARG002
        self._refuse(documents)
        self.upserts += 1
        self.kept |= {document["id"]: document for document in documents}
        return {}

    def get_documents(self, collection: str, ids: list[str]) -> list[dict[str, Any] | None]:  # noqa: ARG002
        found = [self.kept.get(id) for id in ids]
        self._refuse([document for document in found if document])
        return found

    def delete_where(self, collection: str, where: dict[str, Any]) -> int:  # noqa: ARG002
        beyond = [
            id
            for id, document in self.kept.items()
            if document["metadata"]["source"] == where["source"]
            and document["metadata"]["chunk"] >= where["chunk"]["$gte"]
        ]
        for id in beyond:
            del self.kept[id]
        return len(beyond)

    def _refuse(self, documents: list[dict[str, Any]]) -> None:
        if sum(len(document["text"]) for document in documents) > _TOO_MANY_CHARACTERS:
            raise ApiError("ask for fewer", 413)


def _documents(path: Path, characters: int) -> Path:
    lines = [json.dumps({"id": str(n), "text": "x" * characters}) for n in range(100)]
    path.write_text("\n".join(lines))
    return path


def _ingest(service: Service, file: Path) -> None:
    ingest_file(Console(quiet=True), cast(WinnowClient, service), "c", file, None)


def test_a_run_over_long_documents_can_be_repeated(tmp_path: Path) -> None:
    service, file = Service(), _documents(tmp_path / "long.jsonl", characters=100)
    _ingest(service, file)
    assert len(service.kept) == 100
    stored = service.upserts
    _ingest(service, file)
    assert service.upserts == stored


def test_every_chunk_of_a_text_is_kept_and_those_of_a_longer_version_are_deleted(
    tmp_path: Path,
) -> None:
    service, file = Service(), tmp_path / "notes.txt"
    blank = "\n\n\x1e\n\n"
    for letters in ("abcd", "ab"):
        file.write_text(blank.join(letter * 999 for letter in letters))
        _ingest(service, file)
        assert [document["text"][0] for document in service.kept.values()] == list(letters)


def test_a_file_with_a_bad_line_is_refused_before_anything_is_stored(tmp_path: Path) -> None:
    service, file = Service(), _documents(tmp_path / "long.jsonl", characters=1)
    with file.open("a") as lines:
        lines.write('\n{"id": "bad", "text": "x", "metadata": {"price": NaN}}\n')
    with pytest.raises(CommandError, match=r"long\.jsonl:101: not a document as JSON"):
        _ingest(service, file)
    assert service.upserts == 0


def test_a_document_that_is_too_long_by_itself_is_named(tmp_path: Path) -> None:
    file = _documents(tmp_path / "long.jsonl", characters=1001)
    with pytest.raises(Exception, match="document '0'"):
        _ingest(Service(), file)
