"""Stores: times that one was out of reach, and the disk of an embedded index."""

import shutil
from pathlib import Path
from typing import Literal

from ray.serve import metrics


class FailureMetrics:
    """Times that a store was out of reach and the Router went on without it."""

    def __init__(self) -> None:
        self._failures = metrics.Counter(
            "winnow_store_failures",
            "Times that a store was out of reach: keys were not refreshed, or limits were local",
            tag_keys=("store",),
        )

    def count(self, store: Literal["control", "rates"]) -> None:
        self._failures.inc(1, {"store": store})


class IndexMetrics:
    """The disk that an embedded index is on. A database's is its own monitoring's."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._free = metrics.Gauge(
            "winnow_index_free_bytes", "Free space of the disk that the index is on"
        )
        self._capacity = metrics.Gauge(
            "winnow_index_capacity_bytes", "Size of the disk that the index is on"
        )

    def report(self) -> None:
        # A directory that nothing was written to is not there yet; its disk is.
        there = next(one for one in (self._directory, *self._directory.parents) if one.exists())
        disk = shutil.disk_usage(there)
        self._free.set(disk.free, {})
        self._capacity.set(disk.total, {})
