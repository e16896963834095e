"""Targets that Winnow is to reach, each a ratio of two figures of one run.

Knows figures by workload and server, as the report has them; no server.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from loadtest.bench.rows import LatencyRow, Row
from loadtest.bench.workloads import Kind

_OF_BEST_PEER = {
    "embed-1": 1.05,
    "embed-32": 1.15,
    "embed-256": 1.1,
    "rerank-10": 1.2,
    "rerank-100": 1.15,
    "search-20": 1.8,
}
_OF_BEST_ENGINE = {"embed-32": 0.8}
_OF_TWO_HOPS = {"Winnow": 1.0, "Winnow, rerank: false": 1.5}
_TWO_HOPS = "two-hop Serve graph"


@dataclass(frozen=True, slots=True)
class Target:
    """A ratio as it was `seen`, and the bound that it has to keep."""

    what: str
    bound: Literal["at least", "at most"]
    asked: float
    seen: float

    @property
    def met(self) -> bool:
        return self.seen >= self.asked if self.bound == "at least" else self.seen <= self.asked


def targets(
    rows: Sequence[Row],
    latencies: Sequence[LatencyRow],
    limits: Mapping[Kind, float],
    overhead: Mapping[str, Any] | None,
    us: str,
) -> list[Target]:
    """Return those that the run has figures for; `overhead` is loadtest.overhead's document."""
    return [
        *_of_engine(rows, limits, us),
        *_of_peers(rows, us),
        *_of_latencies(latencies, us),
        *(_of_graph(overhead["medians"]) if overhead else ()),
    ]


def behind(rows: Sequence[Row], us: str) -> list[str]:
    """Return the workloads in which `us` is behind the best peer."""
    return [name for name, ours, peers in _ours_and_peers(rows, us) if ours < max(peers)]


def _of_engine(rows: Sequence[Row], limits: Mapping[Kind, float], us: str) -> Iterator[Target]:
    for row in rows:
        name, limit = row.workload.name, limits.get(row.workload.kind)
        if row.server == us and limit and name in _OF_BEST_ENGINE:
            seen = row.rows_per_s / limit
            yield Target(f"{name}, of the best raw engine", "at least", _OF_BEST_ENGINE[name], seen)


def _of_peers(rows: Sequence[Row], us: str) -> Iterator[Target]:
    for name, ours, peers in _ours_and_peers(rows, us):
        asked = _OF_BEST_PEER[name]
        yield Target(f"{name}, of the best peer", "at least", asked, ours / max(peers))


def _of_latencies(latencies: Sequence[LatencyRow], us: str) -> Iterator[Target]:
    for workload in dict.fromkeys(one.workload for one in latencies):
        p99_ms = {one.server: one.p99_ms for one in latencies if one.workload == workload}
        peers = [ms for server, ms in p99_ms.items() if server != us]
        if us in p99_ms and peers:
            what = f"p99 of {workload.name} at half of the highest rate, of the best peer's"
            yield Target(what, "at most", 1.0, p99_ms[us] / min(peers))


def _of_graph(medians: Mapping[str, Any]) -> Iterator[Target]:
    limit = medians[_TWO_HOPS]["requests_per_s"]
    for name, asked in _OF_TWO_HOPS.items():
        what = f"search with free engines ({name}), of a bare two-hop graph"
        yield Target(what, "at least", asked, medians[name]["requests_per_s"] / limit)


def _ours_and_peers(rows: Sequence[Row], us: str) -> Iterator[tuple[str, float, list[float]]]:
    for workload in dict.fromkeys(row.workload for row in rows):
        rates = {row.server: row.rows_per_s for row in rows if row.workload == workload}
        ours = rates.pop(us, None)
        if ours is not None and rates:
            yield workload.name, ours, list(rates.values())
