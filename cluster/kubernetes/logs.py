"""Write what a pod's processes log to files to standard output, as JSON: the chart's sidecar.

Ray and Serve log to files, which go with the pod. Lines of Serve and of Winnow are JSON already and
come as they are; others become the `message` of an object that names their `file`. Knows the
directories of a Ray session, and nothing of what is logged.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import orjson

PROGRAM = "winnow-logs"

# Of the logs of a session. Those of each worker's core, which are left out, repeat the raylet's.
_FILES = (
    "serve/*.log",
    "worker-*.out",
    "worker-*.err",
    "raylet.*",
    "gcs_server.*",
    "monitor.*",
    "dashboard.*",
)
_LONGEST_BYTES = 256 * 1024
_POLL_S = 0.5
# What Ray writes into its workers' output for its own log monitor.
_MARKS = (b":actor_name:", b":task_name:", b":job_id:")


class _File:
    """An open file, read to the end of its last whole line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("rb")
        # Of the open file: the path may be another's by now.
        self._inode = os.fstat(self._file.fileno()).st_ino

    def lines(self) -> Iterator[bytes]:
        """Yield lines without their ends; one that is too long comes in pieces."""
        while line := self._file.readline(_LONGEST_BYTES):
            if not line.endswith(b"\n") and len(line) < _LONGEST_BYTES:
                self._file.seek(-len(line), 1)  # its writer is not done
                return
            yield line.rstrip(b"\r\n")

    def rotated(self) -> bool:
        """Return whether another file has its place, or none."""
        try:
            return self._path.stat().st_ino != self._inode
        except FileNotFoundError:
            return True

    def close(self) -> None:
        self._file.close()


class Follower:
    """The log files of all sessions in Ray's directory, also those that are made later."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._open: dict[Path, _File] = {}

    def poll(self) -> Iterator[bytes]:
        """Yield as JSON the lines that were written since the last call."""
        for path in self._paths():
            if path not in self._open:
                with contextlib.suppress(FileNotFoundError):  # rotated since it was found
                    self._open[path] = _File(path)
        for path, file in list(self._open.items()):
            rotated = file.rotated()  # asked first, so that nothing comes after the last line
            for line in file.lines():
                if line and not line.startswith(_MARKS):
                    yield as_json(path.name, line)
            if rotated:
                self._open.pop(path).close()

    def _paths(self) -> Iterator[Path]:
        for files in _FILES:
            # Not session_latest, which is one of them again.
            for path in self._directory.glob(f"session_[0-9]*/logs/{files}"):
                # A rotated file ends in a number: it was read under its first name.
                if path.suffix in (".log", ".out", ".err"):
                    yield path


def as_json(file: str, line: bytes) -> bytes:
    """Return the line if it is a JSON object, else an object with it."""
    if line.startswith(b"{"):
        try:
            orjson.loads(line)
        except orjson.JSONDecodeError:
            pass
        else:
            return line
    return orjson.dumps({"file": file, "message": line.decode(errors="replace")})


def main() -> None:
    """Follow until SIGTERM, which Kubernetes sends once the pod's other containers have ended."""
    ended = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: ended.set())
    follower = Follower(Path(sys.argv[1]))
    while True:
        last = ended.wait(_POLL_S)
        for line in follower.poll():
            sys.stdout.buffer.write(line + b"\n")
        sys.stdout.buffer.flush()
        if last:
            return


if __name__ == "__main__":
    main()
