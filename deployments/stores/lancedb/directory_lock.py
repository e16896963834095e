"""One process at a time works in a directory: the next one waits until it lets go, or is dead.

A new replica starts beside the one it replaces and is sent requests while that one still answers
its last. So there is one writer at every moment, and each reads what the one before it wrote.
"""

import asyncio
import fcntl
import os
from pathlib import Path

from deployments.errors import NotBegun

ENDED = "this replica of the index has ended: try again shortly"
_POLL_S = 0.02


class DirectoryLock:
    """Of the directory that `file` lies in."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._descriptor: int | None = None
        self._given_up = False

    async def acquire(self) -> None:
        """Wait until it is ours. Raises NotBegun after it was given up."""
        self._refuse_if_given_up()
        if self._descriptor is not None:
            return
        descriptor = os.open(self._file, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while not _locked(descriptor):
                await asyncio.sleep(_POLL_S)
                self._refuse_if_given_up()
        except BaseException:  # a caller that gives up
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _refuse_if_given_up(self) -> None:
        if self._given_up:
            raise NotBegun(ENDED)

    def release(self) -> None:
        """For good."""
        self._given_up = True
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
