"""wrk as the load client: a closed loop over a fixed number of connections.

Knows a URL, headers and bodies; no server.
"""

import json
import resource
import subprocess
from dataclasses import dataclass
from pathlib import Path

_SCRIPT = Path(__file__).parent / "wrk.lua"
_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Measurement:
    """One run; `failed` counts answers that are not 2xx, and broken connections.

    `client_cores` is what wrk itself used of the machine, in cores.
    """

    requests: int
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    client_cores: float


def run(
    url: str, headers: dict[str, str], bodies: Path, connections: int, seconds: int
) -> Measurement:
    """Drive the URL for `seconds`; `bodies` is a file with a JSON body a line."""
    command = ["wrk", "--threads=1", f"--connections={connections}", f"--duration={seconds}s"]
    command += [f"--timeout={_TIMEOUT_S}s", f"--script={_SCRIPT}"]
    for name, value in headers.items():
        command += ["--header", f"{name}: {value}"]
    before_s = _children_s()
    done = subprocess.run([*command, url, str(bodies)], capture_output=True, text=True, check=True)
    used_s = _children_s() - before_s
    seen = json.loads(done.stdout.splitlines()[-1])
    return Measurement(
        requests=seen["requests"],
        requests_per_s=seen["requests"] / (seen["duration_us"] / 1e6),
        p50_ms=seen["p50_us"] / 1e3,
        p99_ms=seen["p99_us"] / 1e3,
        failed=seen["failed"],
        client_cores=used_s / (seen["duration_us"] / 1e6),
    )


def _children_s() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
