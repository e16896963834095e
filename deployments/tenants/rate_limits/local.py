"""Rates of one machine, in a memory-mapped file: its processes share them, and a restart of any
or all of them changes nothing. Without a file, in this process alone.

The arithmetic is throttled's (GCRA); here is only where it keeps its numbers. Nothing is synced to
disk, so each boot has a file of its own; its times are the machine's own clock since boot.
"""

import shutil
from pathlib import Path
from typing import Any, cast

import lmdb
from throttled.rate_limiter.gcra import GCRARateLimiter
from throttled.store import MemoryStore
from throttled.store.memory import MemoryStoreBackend

from deployments.tenants.rate_limits.gcra import PREFIX, LimitersByRate, to_decision
from deployments.tenants.rate_limits.limiter import LimiterUnavailableError, RateDecision

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
# Some 100 bytes a tenant and limit.
_FILE_BYTES = 64 * 2**20


class _FileBackend(MemoryStoreBackend):
    """As throttled's memory backend: its lock is a write transaction, which also shuts out the
    machine's other processes."""

    def __init__(self, server: str | None = None, options: dict[str, Any] | None = None) -> None:
        super().__init__(server, {})
        self._env: lmdb.Environment = (options or {})["ENVIRONMENT"]
        self._txn: Any = None
        self.lock = cast(Any, self)  # it is only ever entered and left

    def __enter__(self) -> None:
        self._txn = self._env.begin(write=True)

    def __exit__(self, failure: type[BaseException] | None, *_: object) -> None:
        txn, self._txn = self._txn, None
        if failure is None:
            txn.commit()
        else:
            txn.abort()

    def get(self, key: str) -> float | None:
        value = self._txn.get(key.encode())
        return None if value is None else float(value)

    def set(self, key: str, value: Any, timeout: int) -> None:  # noqa: ARG002 # a time that is past says the same
        self._txn.put(key.encode(), repr(value).encode())


class _FileStore(MemoryStore):
    _BACKEND_CLASS = _FileBackend


class LocalLimiter:
    """A Limiter. Made by `in_file` or `in_memory`."""

    def __init__(self, store: MemoryStore) -> None:
        self._limiters = LimitersByRate(
            lambda quota: GCRARateLimiter(quota, store, key_prefix=PREFIX)
        )

    @classmethod
    def in_file(cls, directory: Path) -> "LocalLimiter":
        boot = _BOOT_ID.read_text().strip()
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for other in directory.iterdir():
            if other.name != boot:
                shutil.rmtree(other, ignore_errors=True)
        env = lmdb.open(str(directory / boot), map_size=_FILE_BYTES, sync=False, mode=0o600)
        return cls(_FileStore(options={"ENVIRONMENT": env}))

    @classmethod
    def in_memory(cls, most_names: int = 100_000) -> "LocalLimiter":
        return cls(MemoryStore(options={"MAX_SIZE": most_names}))

    async def take(self, name: str, cost: int, per_min: int) -> RateDecision:
        try:
            return to_decision(self._limiters[per_min].limit(name, cost))
        except lmdb.Error as error:
            raise LimiterUnavailableError(f"the file of rates: {error}") from error
