"""The rows of the benchmark's tables: one server under one workload, over its rounds."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from loadtest.bench.workloads import Workload
from loadtest.bench.wrk import Measurement
from loadtest.run.results import Results


@dataclass(frozen=True, slots=True)
class Round:
    """One run of a server, and the CPU seconds of the machine's processes by part."""

    measured: Measurement
    cpu_s: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Row:
    """Medians of a server's rounds in the closed loop.

    `core_ms` is CPU time by part, milliseconds a row; `client_cores` is the load client's own.
    """

    workload: Workload
    server: str
    rounds: int
    rows_per_s: float
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int
    client_cores: float
    core_ms: dict[str, float]

    @classmethod
    def of(cls, workload: Workload, server: str, rounds: Sequence[Round]) -> "Row":
        runs = [one.measured for one in rounds]
        requests_per_s = statistics.median(one.requests_per_s for one in runs)
        rows = sum(one.requests for one in runs) * workload.rows
        parts = dict.fromkeys(part for one in rounds for part in one.cpu_s)
        cpu_s = {part: sum(one.cpu_s.get(part, 0.0) for one in rounds) for part in parts}
        return cls(
            workload,
            server,
            len(runs),
            requests_per_s * workload.rows,
            requests_per_s,
            statistics.median(one.p50_ms for one in runs),
            statistics.median(one.p99_ms for one in runs),
            sum(one.failed for one in runs),
            statistics.median(one.client_cores for one in runs),
            {
                part: 1000 * cpu_s[part] / max(rows, 1)
                for part in sorted(cpu_s, key=cpu_s.__getitem__, reverse=True)
            },
        )


@dataclass(frozen=True, slots=True)
class LatencyRow:
    """A server in the open loop at a rate that is the same for all."""

    workload: Workload
    server: str
    requests_per_s: float
    p50_ms: float
    p99_ms: float
    failed: int

    @classmethod
    def of(
        cls, workload: Workload, server: str, requests_per_s: float, seen: Sequence[Results]
    ) -> "LatencyRow":
        return cls(
            workload,
            server,
            requests_per_s,
            statistics.median(one.percentile_ms(50) for one in seen),
            statistics.median(one.percentile_ms(99) for one in seen),
            sum(int(one.failed.sum()) for one in seen),
        )
