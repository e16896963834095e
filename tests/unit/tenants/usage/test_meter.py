"""Metering: served usage is stored exactly once, whichever process dies or call fails."""

import contextlib
import errno
import multiprocessing
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.tenants.tenant_store import TenantStore
from deployments.tenants.usage import journal
from deployments.tenants.usage.journal import UsageJournal
from deployments.tenants.usage.ledger import UsageLedger
from deployments.tenants.usage.meter import Meter
from deployments.tenants.usage.records import UsageRecord
from tests.unit.service import MODELS, TestService

HOUR = 277  # on the clock of TestService


async def all_used(service: TestService) -> list[UsageRecord]:
    return await service.control.ledger.totals(None, 0, 999_999)


def embedded(requests: int, tokens: int, cached_tokens: int = 0) -> UsageRecord:
    return UsageRecord(HOUR, "tenant", "embed", "embedder", requests, tokens, cached_tokens)


async def test_usage_is_summed_and_stored(service: TestService) -> None:
    meter = service.control.meter
    meter.record("tenant", [("embed", 10, 4), ("rerank", 5, 0)])
    meter.record("tenant", [("embed", 1, 0)])
    await meter.flush()
    await meter.flush()
    assert await all_used(service) == [
        embedded(2, 11, 4),
        UsageRecord(HOUR, "tenant", "rerank", "reranker", 1, 5, 0),
    ]


async def test_metrics_observe_what_was_stored(service: TestService, tmp_path: Path) -> None:
    observed: list[tuple[str, str, int, int]] = []
    ledger, other = service.control.ledger, UsageJournal(tmp_path / "other")
    meter = Meter(other, ledger, MODELS, lambda *one: observed.append(one), lambda: 1_000_000.0)
    for _ in range(3):
        meter.record("tenant", [("embed", 10, 4)])
    assert observed == []
    await meter.flush()
    await meter.flush()
    assert observed == [("tenant", "embed", 30, 12)]


async def test_usage_that_could_not_be_stored_is_stored_later_once(
    service: TestService, monkeypatch: pytest.MonkeyPatch
) -> None:
    meter, add = service.control.meter, UsageLedger.add

    async def fails(*_: object) -> None:
        raise ConnectionError

    async def stores_and_fails(*arguments: object) -> None:
        await add(*arguments)  # type: ignore[arg-type] # handed through
        raise ConnectionError

    meter.record("tenant", [("embed", 10, 0)])
    for failure in (fails, stores_and_fails):
        monkeypatch.setattr(UsageLedger, "add", failure)
        with pytest.raises(ConnectionError):
            await meter.flush()
        meter.record("tenant", [("embed", 1, 0)])
    monkeypatch.setattr(UsageLedger, "add", add)
    await meter.flush()
    assert await all_used(service) == [embedded(3, 12)]


async def test_a_store_that_stays_away_costs_no_open_files(
    service: TestService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ConnectionError

    meter, open_before = service.control.meter, len(os.listdir("/proc/self/fd"))
    with monkeypatch.context() as patch:
        patch.setattr(UsageLedger, "add", fails)
        for _ in range(50):
            meter.record("tenant", [("embed", 1, 0)])
            with pytest.raises(ConnectionError):
                await meter.flush()
    assert len(os.listdir("/proc/self/fd")) <= open_before + 2
    await meter.flush()
    assert await all_used(service) == [embedded(50, 50)]
    assert list((tmp_path / "usage").iterdir()) == []


async def test_a_day_without_a_store_is_held_in_a_short_file_and_stored_later(
    service: TestService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise ConnectionError

    least = 4_000
    monkeypatch.setattr(journal, "_LEAST_BYTES", least)
    directory, now_s = tmp_path / "day", [0.0]
    ledger = service.control.ledger
    meter = Meter(UsageJournal(directory), ledger, MODELS, lambda *_: None, lambda: now_s[0])
    open_before, longest = len(os.listdir("/proc/self/fd")), 0
    with monkeypatch.context() as patch:
        patch.setattr(UsageLedger, "add", fails)
        for hour in range(24):
            now_s[0] = hour * 3600.0
            for number in range(500):
                meter.record(f"tenant-{number % 5}", [("embed", 3, 1), ("rerank", 2, 0)])
            with pytest.raises(ConnectionError):
                await meter.flush()
            longest = max(longest, sum(file.stat().st_size for file in directory.iterdir()))
    assert len(os.listdir("/proc/self/fd")) <= open_before + 2
    totals = 24 * 5 * 2 * 60  # bytes, about: a line each
    assert longest < 2 * totals + 2 * least + 500 * 2 * 50
    await meter.flush()
    stored = await ledger.totals(None, 0, 24)
    assert len(stored) == 10
    assert {one.requests for one in stored} == {24 * 100}
    assert sum(one.tokens for one in stored) == 24 * 500 * 5
    assert sum(one.cached_tokens for one in stored) == 24 * 500
    assert list(directory.iterdir()) == []


async def test_totals_that_were_not_finished_count_nothing(
    service: TestService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = b'[277,"tenant","embed","embedder",7,0]\n'
    total = b'[277,"tenant","embed","embedder",14,1,2]\n'
    directory = tmp_path / "usage"
    (directory / "0a").write_bytes(line + total + line)
    (directory / "0a.totals").write_bytes(total)
    await service.control.meter.flush()
    assert await all_used(service) == [embedded(4, 28, 1)]
    assert list(directory.iterdir()) == []
    # A disk on which totals have no room loses no line.
    monkeypatch.setattr(journal, "_LEAST_BYTES", 100)
    monkeypatch.setattr(Path, "replace", _no_space)
    for _ in range(50):
        service.control.meter.record("tenant", [("embed", 1, 0)])
    assert len(list(directory.iterdir())) == 1
    await service.control.meter.flush()
    assert await all_used(service) == [embedded(54, 78, 1)]


@contextlib.contextmanager
def _room_for(size_bytes: int) -> Iterator[None]:
    """Let no file grow beyond this: as on a full disk, a write is cut short, and the next fails."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


async def test_a_line_that_a_full_disk_cuts_short_costs_no_other(
    service: TestService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    meter = service.control.meter
    meter.record("tenant", [("embed", 10, 0)])
    [file] = (tmp_path / "usage").iterdir()
    with _room_for(file.stat().st_size + 9):
        meter.record("tenant", [("embed", 20, 0)])
    meter.record("tenant", [("embed", 40, 0)])
    await meter.flush()
    assert caplog.messages == ["not billed: tenant embed 20 0"]
    assert await all_used(service) == [embedded(2, 50)]


async def test_totals_that_a_full_disk_cuts_short_replace_nothing(
    service: TestService, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    lines = 3 * len(b'[277,"tenant-0","embed","embedder",1,0]\n')
    monkeypatch.setattr(journal, "_LEAST_BYTES", lines)
    # Totals have a number more in each line, so that three lines have room, but not their totals.
    with _room_for(lines + 2):
        for number in range(3):
            service.control.meter.record(f"tenant-{number}", [("embed", 1, 0)])
    assert "the usage journal could not be summed up: it grows on" in caplog.messages
    await service.control.meter.flush()
    assert {one.tenant for one in await all_used(service)} == {f"tenant-{n}" for n in range(3)}


def _no_space(*_: object) -> None:
    raise OSError(errno.ENOSPC, "no space left on device")


def _record_and_die(directory: Path) -> None:
    meter = Meter(UsageJournal(directory), None, MODELS, lambda *_: None, lambda: 1_000_000.0)  # type: ignore[arg-type] # it dies before
    journal._LEAST_BYTES = 5_000
    for _ in range(1000):
        meter.record("tenant", [("embed", 7, 0)])
    os.kill(os.getpid(), signal.SIGKILL)


async def test_a_killed_router_loses_nothing_it_recorded(
    service: TestService, tmp_path: Path
) -> None:
    process = multiprocessing.get_context("spawn").Process(
        target=_record_and_die, args=[tmp_path / "usage"]
    )
    process.start()
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    await service.control.meter.flush()
    assert await all_used(service) == [embedded(1000, 7000)]
    assert list((tmp_path / "usage").iterdir()) == []


async def test_live_processes_leave_each_others_journals_alone(
    service: TestService, tmp_path: Path
) -> None:
    other = await TenantStore.open(
        None, tmp_path, MODELS, lambda *_: None, lambda: None, lambda: 1_000_000.0
    )
    for turn in range(3):
        other.meter.record("tenant", [("embed", 1, 0)])
        service.control.meter.record("tenant", [("embed", 1, 0)])
        await service.control.meter.flush()
        [used] = await all_used(service)
        assert used.tokens == 2 * turn + 1
        await other.meter.flush()
    await other.database.close()
    assert await all_used(service) == [embedded(6, 6)]


async def test_a_torn_line_costs_no_other(service: TestService, tmp_path: Path) -> None:
    whole = b'[277,"tenant","embed","embedder",7,0]\n'
    (tmp_path / "usage" / "left-behind").write_bytes(whole + whole + whole[:9])
    await service.control.meter.flush()
    assert await all_used(service) == [embedded(2, 14)]


async def test_shutdown_stores_the_rest(service: TestService, tmp_path: Path) -> None:
    async with service.control.running():
        service.control.meter.record("tenant", [("embed", 7, 0)])
    again = await TestService.open(tmp_path)
    assert await all_used(again) == [embedded(1, 7)]
    await again.close()


@pytest.mark.parametrize("path", ["/v1/embeddings", "/v1/rerank", "/v2/embed", "/v2/rerank"])
async def test_a_served_request_is_counted_and_a_refused_one_is_not(
    service: TestService, path: str
) -> None:
    stage, body = {
        "/v1/embeddings": ("embed", {"model": "embedder", "input": ["a", "b"]}),
        "/v2/embed": (
            "embed",
            {"model": "embedder", "texts": ["a", "b"], "input_type": "search_query"},
        ),
    }.get(path, ("rerank", {"model": "reranker", "query": "q", "documents": ["a", "b"]}))
    for wrong in ({}, {"model": "other"}):
        assert (await service.post(path, json=wrong and body | wrong)).status_code >= 400
    assert (await service.post(path, json=body)).status_code == 200
    answer = (await service.send("GET", "/v1/usage", params={"since": 0})).json()
    assert [(one["stage"], one["requests"], one["tokens"]) for one in answer["usage"]] == [
        (stage, 1, 2)
    ]
