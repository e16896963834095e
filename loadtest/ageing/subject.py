"""A store under test: writes to it, and its latency, files and memory over time."""

import asyncio
import time
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from deployments.stores.base import Namespace, Record, VectorStore
from loadtest.ageing.documents import DIMENSIONS, Documents

_NS = Namespace("ageing", "docs")
_TOP_K = 20
_EVERY_S = 2.0
_SEARCHES = 3
_ROUNDS = 10
_COMPARED = 20


@dataclass(slots=True)
class Subject:
    """A store in `directory`. `moments` are filled by `watch`, `upserts_ms` by `write`."""

    store: VectorStore
    directory: Path
    moments: list[dict[str, Any]] = field(default_factory=list)
    upserts_ms: list[float] = field(default_factory=list)

    async def create(self) -> None:
        await self.store.ensure(_NS, DIMENSIONS, "ageing")

    async def load(self, records: Sequence[Record]) -> None:
        await self.store.upsert(_NS, records)

    async def write(self, records: Iterator[Record], writers: int) -> None:
        """Upsert the records one at a time, by so many writers, each after its last is durable."""

        async def writer() -> None:
            for record in records:
                self.upserts_ms.append(await _took_ms(self.store.upsert(_NS, [record])))

        await asyncio.gather(*(writer() for _ in range(writers)))

    async def search(self, documents: Documents) -> float:
        """Return the time that a search took, ms."""
        return await _took_ms(self.store.search([documents.query(_NS, _TOP_K)]))

    async def watch(self, documents: Documents, began_s: float) -> None:
        """Add a moment every two seconds until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            upserts_ms, self.upserts_ms = self.upserts_ms, []
            searches_ms = [await self.search(documents) for _ in range(_SEARCHES)]
            files, size = await asyncio.to_thread(self.size)
            self.moments.append(
                {
                    "at_s": round(time.monotonic() - began_s, 1),
                    "search_ms": _percentile(searches_ms, 50),
                    "upserts": len(upserts_ms),
                    "upsert_p50_ms": _percentile(upserts_ms, 50),
                    "upsert_p99_ms": _percentile(upserts_ms, 99),
                    "files": files,
                    "mib": round(size / 2**20, 1),
                    "rss_mib": round(psutil.Process().memory_info().rss / 2**20),
                }
            )

    def size(self) -> tuple[int, int]:
        """Return the number of files and their bytes. Files may go while they are counted."""
        sizes = []
        for path in self.directory.rglob("*"):
            try:
                status = path.stat()
            except FileNotFoundError:
                continue
            if not path.is_dir():
                sizes.append(status.st_size)
        return len(sizes), sum(sizes)


async def compare(aged: Subject, fresh: Subject, documents: Documents) -> dict[str, Any]:
    """Return each figure of both, measured in turn."""
    pair = (aged, fresh)
    sizes = [subject.size() for subject in pair]
    searches: list[list[float]] = [[], []]
    upserts: list[list[float]] = [[], []]
    records = list(documents.updates(_COMPARED, _COMPARED))
    for _ in range(_ROUNDS):
        for subject, took in zip(pair, searches, strict=True):
            took += [await subject.search(documents) for _ in range(_COMPARED)]
    for subject, took in zip(pair * 2, upserts * 2, strict=True):
        took += [await _took_ms(subject.load([record])) for record in records]
    return {
        "search p50, ms": [_percentile(took, 50) for took in searches],
        "search p99, ms": [_percentile(took, 99) for took in searches],
        "upsert p50, ms": [_percentile(took, 50) for took in upserts],
        "upsert p99, ms": [_percentile(took, 99) for took in upserts],
        "files": [files for files, _ in sizes],
        "KiB": [size // 1024 for _, size in sizes],
    }


async def _took_ms(work: Awaitable[object]) -> float:
    began_s = time.perf_counter()
    await work
    return 1000 * (time.perf_counter() - began_s)


def _percentile(took_ms: Sequence[float], q: float) -> float | None:
    return round(float(np.percentile(took_ms, q)), 2) if took_ms else None
