"""A directory is made once, whole or not at all, even if processes compete or are killed."""

import multiprocessing
import time
from pathlib import Path

import pytest
from rich.console import Console

from cluster.models.cache import made_once

_PARTS = 20


class _Interrupted(BaseException):
    """Like KeyboardInterrupt, no Exception."""


def _is_made(directory: Path) -> bool:
    return (directory / "done").exists()


def _make(directory: Path) -> None:
    (directory / "done").touch()


def _make_slowly(directory: Path) -> None:
    for part in range(_PARTS):
        # Fails if another process is at work in the same directory.
        (directory / str(part)).touch(exist_ok=False)
        time.sleep(0.01)
    with (directory.parent / "made").open("a") as log:
        log.write("x")
    _make(directory)


def _ask(target: Path) -> None:
    made_once(target, _is_made, _make_slowly, Console(quiet=True))


def test_it_is_made_once(tmp_path: Path, quiet: Console) -> None:
    target = tmp_path / "deep" / "model"
    made_once(target, _is_made, _make, quiet)

    def again(_: Path) -> None:
        raise AssertionError("made twice")

    made_once(target, _is_made, again, quiet)
    assert _is_made(target)


@pytest.mark.parametrize("failure", [ValueError, _Interrupted])
def test_a_failed_build_leaves_nothing(
    tmp_path: Path, quiet: Console, failure: type[BaseException]
) -> None:
    def fail(directory: Path) -> None:
        (directory / "half").touch()
        raise failure

    target = tmp_path / "model"
    with pytest.raises(failure):
        made_once(target, _is_made, fail, quiet)
    assert [path.name for path in tmp_path.iterdir()] == [".model.lock"]
    made_once(target, _is_made, _make, quiet)
    assert _is_made(target)


def test_what_a_killed_process_left_is_not_taken_over(tmp_path: Path, quiet: Console) -> None:
    half = tmp_path / ".model.making"
    half.mkdir()
    (half / "half").touch()
    made_once(tmp_path / "model", _is_made, _make, quiet)
    assert [path.name for path in (tmp_path / "model").iterdir()] == ["done"]
    assert not half.exists()


def test_an_outdated_directory_is_replaced(tmp_path: Path, quiet: Console) -> None:
    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    made_once(target, _is_made, _make, quiet)
    assert [path.name for path in target.iterdir()] == ["done"]


def test_an_outdated_directory_stays_when_its_successor_fails(
    tmp_path: Path, quiet: Console
) -> None:
    def fail(_: Path) -> None:
        raise ValueError("broken")

    target = tmp_path / "model"
    target.mkdir()
    (target / "old").touch()
    with pytest.raises(ValueError, match="broken"):
        made_once(target, _is_made, fail, quiet)
    assert (target / "old").exists()


def test_two_processes_make_it_once(tmp_path: Path) -> None:
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=_ask, args=(tmp_path / "model",)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert (tmp_path / "made").read_text() == "x"
    assert len(list((tmp_path / "model").iterdir())) == _PARTS + 1
