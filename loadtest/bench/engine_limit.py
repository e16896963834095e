"""The upper bound of a server: raw engines without one, as many and as wide as does best.

One engine of all threads stops at each barrier for whoever takes a core; one engine a core does
not, and computes other batches best. So both are measured, at several batch sizes.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from loadtest.bench.workloads import Kind

_BATCH_ROWS = (8, 32, 256)
_REPEATS = 2


@dataclass(frozen=True, slots=True)
class EngineRate:
    """Rows/s of `processes` engines of `threads` threads each, together, in batches of a size."""

    processes: int
    threads: int
    batch_rows: int
    rows_per_s: float


def engine_rates(kind: Kind, model: Path, bodies: Sequence[str], work: Path) -> list[EngineRate]:
    """Measure one engine of all cores, and one engine a core; the bodies are shared out."""
    cores = os.cpu_count() or 1
    shapes = dict.fromkeys([(1, cores), (cores, 1)])
    return [
        rate
        for processes, threads in shapes
        for rate in _rates(kind, model, bodies, work, processes, threads)
    ]


def _rates(
    kind: Kind, model: Path, bodies: Sequence[str], work: Path, processes: int, threads: int
) -> Iterator[EngineRate]:
    with ExitStack() as stack:
        engines = []
        for number in range(processes):
            file = work / f"engine-{number}.jsonl"
            file.write_text("\n".join(bodies[number::processes]) + "\n")
            command = [sys.executable, "-m", "loadtest.bench.raw", kind, str(model), str(file)]
            engines.append(stack.enter_context(_running([*command, str(threads)])))
        for engine in engines:
            _line(engine)  # ready
        for batch_rows in _BATCH_ROWS:
            best = max(_rows_per_s(engines, batch_rows) for _ in range(_REPEATS))
            yield EngineRate(processes, threads, batch_rows, best)


def _rows_per_s(engines: Sequence["subprocess.Popen[str]"], batch_rows: int) -> float:
    began_s = time.monotonic()
    for engine in engines:
        assert engine.stdin is not None
        engine.stdin.write(f"{batch_rows}\n")
        engine.stdin.flush()
    rows = sum(int(_line(engine)) for engine in engines)
    return rows / (time.monotonic() - began_s)


def _line(engine: "subprocess.Popen[str]") -> str:
    assert engine.stdout is not None
    # vLLM prints of its own, on standard output too.
    for line in engine.stdout:
        if line.strip() == "ready" or line.strip().isdigit():
            return line
    raise RuntimeError("a raw engine ended")


@contextmanager
def _running(command: list[str]) -> Iterator["subprocess.Popen[str]"]:
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()
