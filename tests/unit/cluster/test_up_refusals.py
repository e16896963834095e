"""Refusals of `winnow up`, before it starts or changes anything."""

from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.commands.session import CommandError
from cluster.fit_check import PlacementError
from cluster.local.state import State
from cluster.node_groups import SpecError
from cluster.profile import ProfileError


@pytest.mark.usefixtures("running")
def test_up_on_another_port_than_the_running_clusters_is_refused(profile: Path) -> None:
    done = CliRunner().invoke(app, ["up", "--profile", str(profile), "--port", "8125"])
    assert isinstance(done.exception, CommandError)
    assert "port 8123" in str(done.exception)


def test_up_refuses_a_place_that_cannot_be_before_anything_starts(
    state: State, profile: Path
) -> None:
    written = yaml.safe_load(profile.read_text())
    written["applications"][0]["args"]["index"]["directory"] = str(profile)
    profile.write_text(yaml.safe_dump(written))
    done = CliRunner().invoke(app, ["up", "--profile", str(profile)])
    assert isinstance(done.exception, ProfileError)
    assert str(done.exception) == (
        f"profile.yaml: applications.winnow.args.index.directory: '{profile}' is a file:"
        " name a directory"
    )
    assert state.running() is None


def test_up_refuses_dimensions_that_the_model_does_not_have(state: State, profile: Path) -> None:
    (profile.parent / "config.json").write_text('{"hidden_size": 512}')
    done = CliRunner().invoke(app, ["up", "--profile", str(profile)])
    assert str(done.exception) == (
        "profile.yaml: applications.winnow.args.embedder.dimensions: the model's vectors have 512,"
        " not 384: write 512"
    )
    assert state.running() is None


def test_up_refuses_what_this_machine_does_not_have(state: State, profile: Path) -> None:
    written = yaml.safe_load(profile.read_text())
    written["applications"][0]["deployments"][1]["ray_actor_options"] = {"num_cpus": 10_000}
    profile.write_text(yaml.safe_dump(written))
    done = CliRunner().invoke(app, ["up", "--profile", str(profile), "--port", "0"])
    assert isinstance(done.exception, PlacementError)
    assert state.running() is None


def test_up_refuses_a_redis_that_does_not_answer(state: State, profile: Path) -> None:
    for redis in ("127.0.0.1:1", "6379", "redis://x"):
        done = CliRunner().invoke(app, ["up", "--profile", str(profile), "--redis", redis])
        assert isinstance(done.exception, CommandError)
        assert "HOST:PORT" in str(done.exception)
    assert state.running() is None


def test_a_state_directory_that_cannot_be_is_told_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("WINNOW_STATE", str(tmp_path / "file"))
    done = CliRunner().invoke(app, ["up"])
    assert isinstance(done.exception, CommandError)
    assert "WINNOW_STATE" in str(done.exception)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("packed: true\n", "nodes.yaml: groups: is missing: add it"),
        (": [", ": not YAML"),
    ],
)
@pytest.mark.usefixtures("state")
def test_a_file_of_nodes_with_mistakes_is_told_in_lines(
    text: str, said: str, profile: Path, tmp_path: Path
) -> None:
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(text)
    arguments = ["up", "--profile", str(profile), "--nodes", str(nodes)]
    done = CliRunner().invoke(app, arguments)
    assert isinstance(done.exception, SpecError)
    assert said in str(done.exception)


@pytest.mark.usefixtures("state")
def test_up_refuses_nodes_that_a_replica_does_not_fit(
    profile: Path, tmp_path: Path, unused_tcp_port: int
) -> None:
    """Before it starts anything: such a replica would wait for ever."""
    made = yaml.safe_load(profile.read_text())
    options = {"num_cpus": 4, "label_selector": {"winnow/role": "gpu"}}
    [embedder] = [
        one for one in made["applications"][0]["deployments"] if one["name"] == "Embedder"
    ]
    embedder["ray_actor_options"] = options
    profile.write_text(yaml.safe_dump(made))
    group = {"name": "gpu", "role": "gpu", "cpu": 2, "min_replicas": 0, "max_replicas": 1}
    nodes = tmp_path / "nodes.yaml"
    nodes.write_text(yaml.safe_dump({"groups": [group]}))
    port = str(unused_tcp_port)
    done = CliRunner().invoke(
        app, ["up", "--profile", str(profile), "--nodes", str(nodes), "--port", port]
    )
    assert isinstance(done.exception, PlacementError)
    assert "Embedder" in str(done.exception)
