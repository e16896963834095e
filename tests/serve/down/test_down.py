"""A roll that fails leaves what served, and `winnow down` nothing. The last folder of a run: any
profile will do."""

from pathlib import Path

import yaml

from cluster.local.head import is_running, processes
from cluster.local.ports import is_free
from cluster.profile import application, load_profile
from tests.serve.cluster import Cluster


def test_a_roll_that_fails_leaves_what_serves_and_says_so(
    any_cluster: Cluster, tmp_path: Path
) -> None:
    if any_cluster.state.running() is None:
        any_cluster.use("local")
    before = any_cluster.state.running()
    assert before is not None
    profile = load_profile(before.profile)
    # More than any process can map, which a Router finds out while it starts.
    application(profile)["args"]["router"]["embed_cache"]["max_bytes"] = 2**60
    file = tmp_path / "broken.yaml"
    file.write_text(yaml.safe_dump(profile))
    failed = any_cluster.winnow("up", "--profile", str(file), check=False)
    assert failed.returncode == 1
    said = " ".join(failed.stderr.split())
    assert "the deployment failed: Router: " in said
    assert "of the version before serve" in said
    assert "Traceback" not in failed.stdout + failed.stderr
    shown = any_cluster.winnow("status").stdout
    assert f"profile {before.profile} DEPLOY_FAILED" in " ".join(shown.split())
    assert "it could not be brought to" in shown
    with any_cluster.client() as client:
        assert client.get("/readyz").status_code == 200


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
