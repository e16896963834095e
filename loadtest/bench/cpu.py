"""CPU time by what a process is: engines, Router, HAProxy, Ray's own and the rest.

Knows processes by their command lines; no server and no load.
"""

from collections import defaultdict
from typing import Self

import psutil

# Part of a command line, and what it is called in the tables; the first that fits.
_PARTS = {
    "deployments.engine.child": "engines",
    "VLLM::": "engines",
    "ServeReplica:winnow:Router": "Router",
    "ServeReplica:winnow:Embedder": "Embedder",
    "ServeReplica:winnow:Reranker": "Reranker",
    "ServeReplica:winnow:Index": "Index",
    "haproxy": "HAProxy",
    "ServeController": "controller",
    "dashboard": "dashboard",
    "gcs_server": "Ray",
    "raylet": "Ray",
    "ray::": "Ray",
    "vllm.entrypoints": "HTTP server",
    "infinity_emb": "server",
    "plain_server": "server",
}


class CpuTimes:
    """CPU seconds of every process on the machine, at one moment."""

    def __init__(self, seconds: dict[tuple[int, float], tuple[str, float]]) -> None:
        self._seconds = seconds

    @classmethod
    def now(cls) -> Self:
        found: dict[tuple[int, float], tuple[str, float]] = {}
        for process in psutil.process_iter(["pid", "create_time", "cmdline", "name", "cpu_times"]):
            seen = process.info
            times = seen["cpu_times"]
            if times is not None:  # it has not ended meanwhile
                title = " ".join(seen["cmdline"] or [seen["name"] or ""])
                used = times.user + times.system
                found[seen["pid"], seen["create_time"]] = (part_of(title), used)
        return cls(found)

    def since(self, earlier: Self) -> dict[str, float]:
        """CPU seconds used since `earlier`, by part; a process that has ended is not counted."""
        used: dict[str, float] = defaultdict(float)
        for key, (part, seconds) in self._seconds.items():
            used[part] += seconds - earlier._seconds.get(key, ("", 0.0))[1]
        return used


def part_of(title: str) -> str:
    """Return what a process with this command line is called in the tables."""
    return next((part for sign, part in _PARTS.items() if sign in title), "others")
