"""Rate limits of one machine, without a server: in a file that its processes share, or in memory.

Times are those of the machine's monotonic clock, which all of its processes read alike.
"""

import time
from pathlib import Path

import lmdb
from cachetools import LRUCache

from deployments.request.deadline import Clock
from deployments.stores.node_file import open_node_file
from deployments.tenants.rate_limits.gcra import decide, returned
from deployments.tenants.rate_limits.limiter import LimiterUnavailableError, RateDecision

# About 100 bytes a tenant and limit.
_FILE_BYTES = 64 * 2**20


class FileLimiter:
    """A Limiter over a memory-mapped file: a restart of any or all processes changes nothing."""

    def __init__(self, directory: Path, clock: Clock = time.monotonic) -> None:
        self._env = open_node_file(directory, _FILE_BYTES)
        self._clock = clock

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        key = name.encode()
        try:
            # A write transaction also excludes the machine's other processes.
            with self._env.begin(write=cost > 0) as txn:
                stored = txn.get(key)
                tat_s = None if stored is None else float(stored)
                decision, tat_s = decide(tat_s, self._clock(), cost, per_min)
                if decision.granted and cost:
                    txn.put(key, repr(tat_s).encode())
        except lmdb.Error as error:
            raise LimiterUnavailableError(f"the file of rate limits: {error}") from error
        return decision

    async def give_back(self, name: str, cost: int, per_min: int) -> None:
        key = name.encode()
        try:
            with self._env.begin(write=True) as txn:
                stored = txn.get(key)
                if stored is not None:
                    txn.put(key, repr(returned(float(stored), cost, per_min)).encode())
        except lmdb.Error as error:
            raise LimiterUnavailableError(f"the file of rate limits: {error}") from error


class MemoryLimiter:
    """A Limiter of this process alone, for the `max_names` names it was asked for most recently."""

    def __init__(self, max_names: int = 100_000, clock: Clock = time.monotonic) -> None:
        self._tats_s: LRUCache[str, float] = LRUCache(max_names)
        self._clock = clock

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        decision, tat_s = decide(self._tats_s.get(name), self._clock(), cost, per_min)
        if decision.granted and cost:
            self._tats_s[name] = tat_s
        return decision

    async def give_back(self, name: str, cost: int, per_min: int) -> None:
        if (tat_s := self._tats_s.get(name)) is not None:
            self._tats_s[name] = returned(tat_s, cost, per_min)
