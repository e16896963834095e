"""A day of usage while PostgreSQL is down: bounded on the disk, and stored once when it is back."""

import asyncio
import os
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from deployments.errors import StageUnavailable
from deployments.tenants.tenant_store import TenantStore
from deployments.tenants.usage.meter import HOUR_S, Meter
from deployments.tenants.usage.records import UsageRecord
from tests.postgres import OwnServer
from tests.unit.service import MODELS

_TENANTS = 20
_FIRST_HOUR = 400_000
_DAY_S = 24 * HOUR_S
_FLUSH_EVERY_S = 600
# A request's line in the journal has some 50 bytes, and totals are made at a megabyte.
_MOST_BYTES = 2 * 2**20
_MOST_FILES = 2

Key = tuple[int, str, str]


@dataclass
class Served:
    """Requests that were served: what is to be stored of them, and what the journal took at most
    meanwhile. The clock is theirs."""

    directory: Path
    now_s: float = float(_FIRST_HOUR * HOUR_S)
    tokens: Counter[Key] = field(default_factory=Counter)
    requests: Counter[Key] = field(default_factory=Counter)
    files: int = 0
    bytes: int = 0
    descriptors: int = 0

    def serve(self, meter: Meter, for_s: int, requests_per_s: int) -> None:
        """Record searches, which have two stages, of all tenants in turn."""
        began_s = self.now_s
        for number in range(for_s * requests_per_s):
            self.now_s = began_s + number / requests_per_s
            hour, tenant = int(self.now_s // HOUR_S), f"tenant-{number % _TENANTS}"
            used = [("embed", number % 7 + 1, 0), ("rerank", number % 11 + 1, 1)]
            meter.record(tenant, used)
            for stage, tokens, _ in used:
                self.tokens[hour, tenant, stage] += tokens
                self.requests[hour, tenant, stage] += 1
        self.now_s = began_s + for_s

    def look(self) -> None:
        sizes = [file.stat().st_size for file in self.directory.iterdir()]
        self.files = max(self.files, len(sizes))
        self.bytes = max(self.bytes, sum(sizes))
        self.descriptors = max(self.descriptors, _descriptors())


async def pass_a_day(meter: Meter, served: Served, requests_per_s: int) -> None:
    """Serve for a day, in which each attempt to store usage fails."""
    for _ in range(_DAY_S // _FLUSH_EVERY_S):
        served.serve(meter, _FLUSH_EVERY_S, requests_per_s)
        with pytest.raises(StageUnavailable):
            await meter.flush()
        served.look()


async def until_away(control: TenantStore) -> None:
    """Wait for the last of a server that was killed: what serves a connection outlives it."""

    async def ask_again_and_again() -> None:
        while True:
            await control.ledger.totals(None, 0, 0)
            await asyncio.sleep(0.02)

    with pytest.raises(StageUnavailable):
        await asyncio.wait_for(ask_again_and_again(), timeout=60)


async def flush_and_lose_the_answer(
    control: TenantStore, server: OwnServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Store usage on a server that is killed when it has committed, before it is told."""
    add = control.ledger.add

    async def commit_and_end(
        batch: str, used: Iterable[UsageRecord], settled: Sequence[str] = ()
    ) -> None:
        await add(batch, used, settled)
        server.kill()
        raise ConnectionResetError

    with monkeypatch.context() as once:
        once.setattr(control.ledger, "add", commit_and_end)
        with pytest.raises(ConnectionResetError):
            await control.meter.flush()


async def stored(control: TenantStore) -> tuple[Counter[Key], Counter[Key]]:
    tokens, requests = Counter[Key](), Counter[Key]()
    for hour in range(_FIRST_HOUR, _FIRST_HOUR + 26):
        for one in await control.ledger.totals(None, hour, hour):
            tokens[hour, one.tenant, one.stage] = one.tokens
            requests[hour, one.tenant, one.stage] = one.requests
    return tokens, requests


async def a_day_away(
    server: OwnServer, directory: Path, requests_per_s: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = Served(directory / "usage")
    control = await TenantStore.open(
        server.url, directory, MODELS, lambda *_: None, lambda: None, lambda: served.now_s
    )
    meter = control.meter
    served.serve(meter, 1, requests_per_s)
    await meter.flush()
    before = _descriptors()
    server.kill()
    await until_away(control)
    await pass_a_day(meter, served, requests_per_s)
    sys.stdout.write(
        f"{sum(served.requests.values())} lines: at most {served.files} files,"
        f" {served.bytes} bytes, {served.descriptors - before} more descriptors\n"
    )
    server.start_again()
    await flush_and_lose_the_answer(control, server, monkeypatch)
    server.start_again()
    await meter.flush()
    served.serve(meter, 1, requests_per_s)
    await meter.flush()
    assert await stored(control) == (served.tokens, served.requests)
    assert list(served.directory.iterdir()) == []
    assert served.files <= _MOST_FILES
    assert served.bytes < _MOST_BYTES
    assert served.descriptors <= before + _MOST_FILES
    await control.database.close()


def _descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


async def test_a_day_without_postgresql_is_held_in_bounded_files_and_stored_once(
    own_server: OwnServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await a_day_away(own_server, tmp_path, 1, monkeypatch)
