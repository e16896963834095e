"""`winnow down` leaves nothing. The last folder of a run: any profile will do."""

from cluster.local.head import is_running, processes
from cluster.local.ports import is_free
from tests.serve.cluster import Cluster


def test_down_leaves_no_process_and_no_port(any_cluster: Cluster) -> None:
    if any_cluster.state.running() is None:
        any_cluster.use("local")
    running = any_cluster.state.running()
    assert running is not None
    before = processes(running)
    assert any("haproxy" in process.name() for process in before)
    any_cluster.winnow("down")
    any_cluster.mark_stopped()
    assert [process for process in before if is_running(process)] == []
    assert processes(running) == []
    assert is_free(running.http_port)
    assert is_free(running.dashboard_port)
    assert "no cluster" in any_cluster.winnow("down").stdout
