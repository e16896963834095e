"""A memory-mapped key-value file (LMDB) that the processes of one node share until its next boot.

Nothing is synced to disk: what a process wrote outlives the process, but not a crash of the
machine. So each boot gets a file of its own, and deletes those of earlier boots. So does each size:
processes that map a file in different sizes, as during a rollout, cannot all read it. Knows nothing
of what the file holds.
"""

import shutil
from pathlib import Path

import lmdb

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def open_node_file(directory: Path, max_bytes: int, max_dbs: int = 0) -> lmdb.Environment:
    """Open this boot's file in `directory`, with up to `max_dbs` named databases."""
    boot = _BOOT_ID.read_text().strip()
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for other in directory.iterdir():
        if not other.name.startswith(boot):
            shutil.rmtree(other, ignore_errors=True)
    path = str(directory / f"{boot}-{max_bytes}")
    env = lmdb.open(path, map_size=max_bytes, max_dbs=max_dbs, sync=False, mode=0o600)
    # Readers that were killed would hold their slots for ever.
    env.reader_check()
    return env
