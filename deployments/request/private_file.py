"""A file that only its owner reads, replaced as a whole. Knows nothing of what is in it."""

from pathlib import Path


def write_private(path: Path, content: bytes) -> None:
    """Replace a file atomically, with mode 0600: another process may be reading it."""
    fresh = path.with_suffix(".new")
    fresh.touch(mode=0o600)
    fresh.write_bytes(content)
    fresh.replace(path)
