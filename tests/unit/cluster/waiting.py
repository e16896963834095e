"""Waiting for a process that a test has started."""

import subprocess
import time

import httpx

_PATIENCE_S = 60.0


def answers(url: str, process: "subprocess.Popen[str]") -> None:
    """Return once `url` answers; fails if the process ends before, or in a minute."""
    ends_s = time.monotonic() + _PATIENCE_S
    with httpx.Client(trust_env=False) as client:
        while True:
            assert process.poll() is None, "it ended"
            try:
                assert client.get(url).status_code == 200
            except httpx.TransportError:
                assert time.monotonic() < ends_s, "it does not answer"
                time.sleep(0.1)
            else:
                return
