"""Recovery of a LanceDB table after a power cut: versions with torn files are set aside.

The durability barrier comes between a commit and its acknowledgement, so an incomplete file
belongs to a version that was never acknowledged. The engine itself checks little: it reads a
manifest of zeros as a table without columns. Knows the names and last bytes of the engine's files
(https://lance.org/format/table/), and nothing of the rows.
"""

import contextlib
import logging
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path

_LOG = logging.getLogger(__name__)

_MAGIC_BY_SUFFIX = {
    ".manifest": b"LANC",
    ".lance": b"LANC",
    ".idx": b"LANC",
    ".arrow": b"ARROW1",
}


def manifests(table: Path) -> list[Path]:
    """Return the manifests, newest first: version n is stored under 2^64 - 1 - n."""
    return sorted((table / "_versions").glob("*.manifest"))


def set_aside_torn_versions(table: Path) -> None:
    """Rename torn manifests, and the newest ones that name a torn file, to `.torn`.

    Files are written from start to end, so only their ends are checked.
    """
    for manifest in manifests(table):
        if _is_torn(manifest):
            _set_aside(manifest)
    suspects = [file for file in _files(table) if _is_torn(file)]
    for manifest in manifests(table):
        if not _names_torn(manifest, suspects):
            return
        _set_aside(manifest)


def _names_torn(manifest: Path, suspects: Sequence[Path]) -> bool:
    """Check the suspects again: another process may have been writing them the first time."""
    if not suspects:
        return False
    try:
        content = manifest.read_bytes()
    except FileNotFoundError:  # pruned meanwhile
        return False
    return any(_name_in(file) in content and _is_torn(file) for file in suspects)


def _files(table: Path) -> Iterator[Path]:
    yield from table.glob("data/*.lance")
    yield from table.glob("_deletions/*")
    yield from table.glob("_indices/*/*.idx")


def _is_torn(file: Path) -> bool:
    """Return whether the file lacks its magic bytes or, for a format without, begins with 0s."""
    magic = _MAGIC_BY_SUFFIX.get(file.suffix)
    try:
        with file.open("rb") as content:
            if magic is None:
                return not any(content.read(8))
            size_bytes = content.seek(0, 2)
            content.seek(max(0, size_bytes - len(magic)))
            return content.read() != magic
    except FileNotFoundError:  # pruned meanwhile
        return False


def _name_in(file: Path) -> bytes:
    """Return the bytes by which a manifest names the file: random, too long to occur by chance."""
    match file.parent.name, file.parent.parent.name:
        case "data", _:
            return file.name.encode()
        case "_deletions", _:
            return _varint(int(file.stem.rsplit("-", 1)[1]))
        case index, _:
            return uuid.UUID(index).bytes


def _varint(number: int) -> bytes:
    """https://protobuf.dev/programming-guides/encoding/#varints"""
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _set_aside(manifest: Path) -> None:
    with contextlib.suppress(FileNotFoundError):  # pruned meanwhile
        manifest.rename(manifest.with_name(manifest.name + ".torn"))
    _LOG.error(
        "set aside a torn version: the last, unacknowledged write did not survive a power cut",
        extra={"manifest": str(manifest)},
    )
