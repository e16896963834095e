"""What a power cut leaves of the last versions of a LanceDB table, and putting it aside.

The barrier comes after a commit and before its acknowledgement, so a file that is not whole on the
disk belongs to a version that nobody was told of. The engine looks at little of it: it takes a
manifest of zeros for a table without columns. Knows the engine's files by their names and ends
(https://lance.org/format/table/), and nothing of what is in the rows.
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
    """The manifests, newest first: version n is stored under 2^64 - 1 - n."""
    return sorted((table / "_versions").glob("*.manifest"))


def set_aside_torn_versions(table: Path) -> None:
    """Rename each manifest that is torn, and the newest ones that name a torn file, to `.torn`.

    A file torn in its middle alone is not found: it is written from its beginning to its end.
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
    """Each is looked at again, as another process may have been writing it the first time."""
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
    """Whether it does not end as its kind does. One that ends anyhow must not begin with zeros."""
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
    """How a manifest names the file. Both numbers are random and long: no other bytes are they."""
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
