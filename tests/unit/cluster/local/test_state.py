"""The record of a cluster, which other commands may read at any time."""

from pathlib import Path

import pytest

from cluster.local.state import RunningCluster, State

_CLUSTER = RunningCluster(
    cluster_id="none",
    head_pid=1,
    profile="local",
    http_port=8123,
    dashboard_port=8124,
    session_directory="/tmp/w-none",
)


def test_a_record_that_is_not_written_to_its_end_leaves_the_one_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def torn(path: Path, content: bytes) -> None:
        path.write_text(content[:20].decode())
        raise OSError("no space left on the device")

    state = State(tmp_path)
    state.record(_CLUSTER)
    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", torn)
        with pytest.raises(OSError, match="no space"):
            state.record(_CLUSTER.model_copy(update={"profile": "other"}))
    assert state.running() == _CLUSTER
