"""The lock that lets one process at a time work in a directory.

A new replica starts beside the one it replaces, and gets requests while that one still answers its
last. It waits until the old one releases the lock or dies, so there is never a second writer.
"""

import asyncio
import fcntl
import os
from pathlib import Path

from deployments.errors import NotBegun

ENDED = "this replica of the index has ended: try again shortly"
_POLL_S = 0.02


class DirectoryLock:
    """A lock file that can be acquired once; after `release` it cannot be acquired again."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._released = False

    async def acquire(self) -> None:
        """Wait for the lock. Raises NotBegun after `release`."""
        self._check_not_released()
        if self._descriptor is not None:
            return
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(descriptor):
                await asyncio.sleep(_POLL_S)
                self._check_not_released()
        except BaseException:  # cancellation included
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _check_not_released(self) -> None:
        if self._released:
            raise NotBegun(ENDED)

    def release(self) -> None:
        """Release the lock; this process cannot acquire it again."""
        self._released = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
