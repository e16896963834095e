"""On a real cluster a Router's lines leave its process, by the standard output that Ray gave it."""

import json
import time
from pathlib import Path

import httpx

from tests.serve.cluster import Cluster

_PATIENCE_S = 10.0


def _line(logs: Path, request_id: str) -> str:
    """The line of a request, once it is there."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline_s:
        for file in logs.glob("worker-*.out"):
            for line in file.read_text(errors="replace").splitlines():
                if f'"{request_id}"' in line:
                    return line
        time.sleep(0.1)
    raise TimeoutError(request_id)


def test_a_request_has_a_line_with_the_id_of_its_answer(api: httpx.Client, local: Cluster) -> None:
    answered = api.get("/v1/models")
    running = local.state.running()
    assert running is not None
    logs = Path(running.session_directory) / "session_latest" / "logs"
    line = json.loads(_line(logs, answered.headers["x-request-id"]))
    assert (line["route"], line["status"]) == ("/v1/models", 200)
    assert line["tenant"]
