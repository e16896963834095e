"""Starts the processes of an engine's copies, as its replica sees it.

What they are forked from is a process that has imported what all of them need; see `child`.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Sequence

from deployments.engine.base import EngineConfig

CHILD = (sys.executable, "-m", "deployments.engine.child")


class ForkServer:
    """For engines of one `config`. Starts with the first `fork`, and again when it has died."""

    def __init__(self, config: EngineConfig, command: Sequence[str] = CHILD) -> None:
        self._config = config
        self._command = command
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None

    def fork(self) -> socket.socket:
        """Our end of a socket whose other end is a new process. ConnectionError if there is none.

        Call it from a thread that lives as long as the replica: the system ends the processes with
        the thread that started the first of them.
        """
        if self._control is None or self._process is None or self._process.poll() is not None:
            self.close()
            self._control = self._start()
        ours, theirs = socket.socketpair()
        with theirs:
            socket.send_fds(self._control, [b"+"], [theirs.fileno()])
        return ours

    def close(self) -> None:
        """It ends, and with it every process that it has forked."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def replaced(self) -> "ForkServer":
        """End it, and return another for the same engines."""
        self.close()
        return ForkServer(self._config, self._command)

    def _start(self) -> socket.socket:
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [*self._command, str(theirs.fileno()), self._config.model_dump_json()],
                pass_fds=[theirs.fileno()],
                env=_environment(),
            )
        return ours


def _environment() -> dict[str, str]:
    """This process's, with its import path, which a replica may have got by other ways, and no
    pool of threads, which a fork would not have; an engine sets how many it wants."""
    path = os.pathsep.join(entry or os.curdir for entry in sys.path)
    return {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
