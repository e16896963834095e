"""A disk that is full, and one whose power is cut. Both need a file system of their own, so they
are skipped where none may be mounted."""

import fcntl
import os
import struct
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from deployments.errors import StorageFull
from deployments.stores.base import VectorQuery
from deployments.stores.lancedb.store import LanceDBStore
from tests.unit.stores.lancedb.one_collection import NS, all_ids, opened, start_writer
from tests.unit.stores.made import count, record, unit

_DISK_BYTES = 64 * 2**20
# linux/fs/ext4/ext4.h: EXT4_IOC_SHUTDOWN, and its flag that drops what the journal still holds.
_SHUTDOWN = 0x8004587D
_NO_LOG_FLUSH = 2


def _mount(*arguments: str) -> None:
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no file system may be mounted here: {done.stderr.strip()}")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB in memory."""
    if os.geteuid():
        pytest.skip("mounting needs root")
    point = tmp_path / "small"
    point.mkdir()
    _mount("-t", "tmpfs", "-o", "size=4m", "tmpfs", str(point))
    yield point
    subprocess.run(["umount", "--lazy", point], check=True)


class Disk:
    """An ext4 file system in a file, whose power can be cut."""

    def __init__(self, image: Path, point: Path) -> None:
        self._image = image
        self.point = point

    def mount(self) -> None:
        _mount("-o", "loop", str(self._image), str(self.point))

    def cut_power(self) -> None:
        """From here on nothing reaches the disk, not even what was written and not flushed."""
        descriptor = os.open(self.point, os.O_RDONLY)
        try:
            fcntl.ioctl(descriptor, _SHUTDOWN, struct.pack("I", _NO_LOG_FLUSH))
        finally:
            os.close(descriptor)

    def unmount(self) -> None:
        subprocess.run(["umount", self.point], check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Disk:
    if os.geteuid():
        pytest.skip("mounting needs root")
    image, point = tmp_path / "disk.img", tmp_path / "disk"
    point.mkdir()
    with image.open("wb") as file:
        file.truncate(_DISK_BYTES)
    try:
        subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("there is no mkfs.ext4 here")
    return Disk(image, point)


async def _fill(store: LanceDBStore, acknowledged: list[str]) -> None:
    for at in range(1_000):
        await store.upsert(NS, [record(f"d{at}", text="x" * 20_000)])
        acknowledged.append(f"d{at}")


async def test_a_full_disk_is_reported_and_loses_nothing(small_disk: Path) -> None:
    filler = small_disk / "filler"
    filler.write_bytes(bytes(3 * 2**20))
    store = await opened(small_disk / "index")
    acknowledged: list[str] = []
    with pytest.raises(StorageFull) as told:
        await _fill(store, acknowledged)
    assert told.value.status == 507
    assert acknowledged
    # Reads still work, and the next write is refused like the first.
    assert set(acknowledged) <= set(await all_ids(store))
    assert await store.search([VectorQuery(NS, unit(1, 0, 0, 0), 1)])
    with pytest.raises(StorageFull):
        await store.upsert(NS, [record("more", text="x" * 200_000)])
    filler.unlink()
    await store.upsert(NS, [record("after")])
    await store.close()
    store = LanceDBStore(small_disk / "index")
    assert {*acknowledged, "after"} <= set(await all_ids(store))
    await store.close()


async def test_acknowledged_writes_survive_power_cuts(disk: Disk) -> None:
    acknowledged: list[str] = []
    for life in range(3):
        disk.mount()
        writer = await start_writer(disk.point / "index", first=life * 1_000_000)
        await writer.go_on(10 + 20 * life)
        disk.cut_power()
        writer.process.kill()
        acknowledged += await writer.acknowledged()
        disk.unmount()

        disk.mount()
        store = await opened(disk.point / "index")
        found = await all_ids(store)
        assert set(acknowledged) <= set(found)
        assert len(found) == len(set(found)) == await count(store, NS)
        await store.close()
        disk.unmount()
    assert len(acknowledged) > 60
