"""The vectors that processes of a node share: bounded, and forgotten in order of use."""

import multiprocessing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deployments.pipeline.vector_cache import VectorCache

_WIDTH = 384
_MIB = 2**20


def _vector(number: int) -> NDArray[np.float32]:
    return np.full(_WIDTH, number, np.float32)


def _key(number: int) -> bytes:
    return number.to_bytes(24, "big")


def _put(directory: Path, number: int) -> None:
    VectorCache(directory, _MIB).put({_key(number): _vector(number)})


def test_what_one_process_puts_another_gets(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, _MIB)
    assert cache.get([_key(1)]) == [None]
    process = multiprocessing.get_context("spawn").Process(target=_put, args=(tmp_path, 1))
    process.start()
    process.join()
    found, unknown = cache.get([_key(1), _key(2)])
    assert found is not None
    assert np.array_equal(found, _vector(1))
    assert unknown is None


def test_it_keeps_the_newest_within_its_bytes(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, _MIB)
    for number in range(3_000):
        cache.put({_key(number): _vector(number)})
        [found] = cache.get([_key(number)])
        assert found is not None
    kept = [vector is not None for vector in cache.get([_key(n) for n in range(3_000)])]
    # 3,000 vectors are 4.4 MiB.
    assert 100 < sum(kept) < 700
    assert kept == sorted(kept), "an older one outlived a newer one"
    assert sum(file.stat().st_blocks * 512 for file in tmp_path.glob("*/data.mdb")) <= _MIB


def test_more_at_once_than_it_holds_is_not_kept(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, _MIB)
    cache.put({_key(0): _vector(0)})
    cache.put({_key(n): _vector(n) for n in range(1, 2_000)})
    found = cache.get([_key(0), _key(1)])
    assert [one is None for one in found] == [False, True]


def test_a_cache_that_fails_costs_no_request(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path, _MIB)
    cache.close()
    cache.put({_key(1): _vector(1)})
    assert cache.get([_key(1)]) == [None]


def test_what_was_there_before_the_machine_started_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = VectorCache(tmp_path, _MIB)
    cache.put({_key(1): _vector(1)})
    cache.close()
    boot = tmp_path / "boot_id"
    boot.write_text("another\n")
    monkeypatch.setattr("deployments.stores.node_file._BOOT_ID", boot)
    assert VectorCache(tmp_path / "cache", _MIB).get([_key(1)]) == [None]


def _fill(directory: Path, max_bytes: int, count: int) -> None:
    VectorCache(directory, max_bytes).put({_key(one): _vector(one) for one in range(count)})


def test_a_process_that_maps_more_does_not_take_the_cache_from_others(tmp_path: Path) -> None:
    """As during a rollout that raises `max_bytes`."""
    cache = VectorCache(tmp_path, _MIB)
    larger = (tmp_path, 8 * _MIB, 1_500)  # more than fits into the smaller one
    process = multiprocessing.get_context("spawn").Process(target=_fill, args=larger)
    process.start()
    process.join()
    assert process.exitcode == 0
    cache.put({_key(9_999): _vector(1)})
    [found] = cache.get([_key(9_999)])
    assert found is not None
