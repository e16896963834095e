"""A pod's log files come out as JSON, each line once, whatever becomes of the file."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import orjson
import pytest

from cluster.kubernetes.logs import Follower, as_json


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    """Logs directory of a Ray session. A link leads to the session, too."""
    directory = tmp_path / "session_2026-01-01" / "logs"
    (directory / "serve").mkdir(parents=True)
    (tmp_path / "session_latest").symlink_to(tmp_path / "session_2026-01-01")
    return directory


def _append(path: Path, text: str) -> None:
    with path.open("a") as file:
        file.write(text)


def test_lines_come_once_as_they_are_written(logs: Path, tmp_path: Path) -> None:
    file = logs / "serve" / "replica.log"
    follower = Follower(tmp_path)
    _append(file, '{"message": "one"}\n{"mess')
    assert list(follower.poll()) == [b'{"message": "one"}']
    assert list(follower.poll()) == []
    _append(file, 'age": "two"}\n')
    assert list(follower.poll()) == [b'{"message": "two"}']


@pytest.mark.parametrize("name", ["serve/replica.log", "worker-1.out"])
def test_a_file_that_is_rotated_is_read_to_its_end(logs: Path, tmp_path: Path, name: str) -> None:
    file = logs / name
    _append(file, '{"n": 1}\n')
    follower = Follower(tmp_path)
    assert len(list(follower.poll())) == 1
    _append(file, '{"n": 2}\n')
    file.rename(file.with_name(f"{file.name}.1"))
    _append(file, '{"n": 3}\n')
    assert list(follower.poll()) + list(follower.poll()) == [b'{"n": 2}', b'{"n": 3}']
    file.unlink()
    assert list(follower.poll()) == list(follower.poll()) == []


def test_a_file_that_is_rotated_while_it_is_opened_loses_nothing(
    logs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = logs / "serve" / "replica.log"
    _append(file, '{"n": 1}\n')
    open_file = Path.open

    def rotated_once_open(path: Path, mode: str) -> IO[Any]:
        opened = open_file(path, mode)
        monkeypatch.undo()
        file.rename(file.with_name("replica.log.1"))
        _append(file, '{"n": 2}\n')
        return opened

    monkeypatch.setattr(Path, "open", rotated_once_open)
    follower = Follower(tmp_path)
    assert list(follower.poll()) + list(follower.poll()) == [b'{"n": 1}', b'{"n": 2}']


def test_a_file_that_is_gone_before_it_is_opened_stops_no_other(logs: Path, tmp_path: Path) -> None:
    gone = logs / "serve" / "gone.log"
    gone.symlink_to(logs / "nowhere")  # found by its name, and not to be opened
    _append(logs / "serve" / "replica.log", '{"n": 1}\n')
    assert list(Follower(tmp_path).poll()) == [b'{"n": 1}']


def test_a_worker_that_ray_starts_later_is_found(logs: Path, tmp_path: Path) -> None:
    follower = Follower(tmp_path)
    assert list(follower.poll()) == []
    _append(logs / "worker-1.err", ":actor_name:ServeReplica\nno GPU\n")
    assert list(map(orjson.loads, follower.poll())) == [
        {"file": "worker-1.err", "message": "no GPU"}
    ]
    _append(logs / "python-core-worker-1.log", "of the core\n")
    assert list(follower.poll()) == []


@pytest.mark.parametrize("line", [b"{", b"plain", b'"a"', b"\xff\x00", b"{}x"])
def test_what_is_no_json_object_becomes_one(line: bytes) -> None:
    assert orjson.loads(as_json("f", line))["file"] == "f"


def test_a_line_without_end_is_not_kept_in_memory(logs: Path, tmp_path: Path) -> None:
    _append(logs / "raylet.out", "x" * 600_000)
    lines = [orjson.loads(line)["message"] for line in Follower(tmp_path).poll()]
    assert [len(line) for line in lines] == [262_144, 262_144]


def test_the_program_ends_when_told_and_leaves_nothing_unsaid(logs: Path, tmp_path: Path) -> None:
    program = [sys.executable, "-m", "cluster.kubernetes.logs", str(tmp_path)]
    _append(logs / "gcs_server.out", "first\n")
    with subprocess.Popen(program, stdout=subprocess.PIPE, env={**os.environ}) as started:
        assert started.stdout is not None
        assert b"first" in started.stdout.readline()
        _append(logs / "gcs_server.out", "last\n")
        started.send_signal(signal.SIGTERM)
        assert b"last" in started.stdout.read()
    assert started.returncode == 0
