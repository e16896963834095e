"""The shipped scenarios are valid, and mistakes in one are refused."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from cluster.profile import application, load_profile
from loadtest.run.scenario import (
    Scenario,
    UnknownScenarioError,
    load_scenario,
    load_slo,
    scenario_names,
)
from loadtest.traffic import generate

_TRAFFIC = {"duration_s": 10, "requests_per_s": 5, "mix": [{"route": "search", "share": 1}]}


def scenario(**more: Any) -> Scenario:
    return Scenario.model_validate({"about": "x", "slo": "steady", "traffic": _TRAFFIC} | more)


def test_the_scenarios_are_there() -> None:
    assert set(scenario_names()) == {
        "steady",
        "spike",
        "noisy_neighbour",
        "scale_from_min",
        "replica_kill",
        "soak",
    }


@pytest.mark.parametrize("name", scenario_names())
def test_each_has_objectives_about_what_it_sends_and_a_cluster_that_starts(
    name: str, tmp_path: Path
) -> None:
    shipped = load_scenario(name)
    trace = generate(shipped.traffic, shipped.seed)
    assert len(trace) > 100
    for objective in load_slo(shipped.slo).objectives:
        assert objective.tenant is None or objective.tenant in trace.names
        assert objective.but_tenant is None or objective.but_tenant in trace.names
        assert objective.p99_ratio is None or shipped.disturbed_s() is not None
    file = tmp_path / "profile.yaml"
    file.write_text(yaml.safe_dump(shipped.cluster.build()))
    assert application(load_profile(str(file)))["name"] == "winnow"


def test_options_take_the_place_of_the_profiles_and_null_takes_one_away() -> None:
    options = {"num_replicas": None, "autoscaling_config": {"max_replicas": 2}}
    built = scenario(cluster={"deployments": {"Reranker": options}}).cluster.build()
    reranker = application(built)["deployments"][-1]
    assert reranker["name"] == "Reranker"
    assert "num_replicas" not in reranker
    assert reranker["autoscaling_config"] == {"max_replicas": 2}
    assert reranker["max_ongoing_requests"] == 10_000


def test_options_of_a_deployment_that_is_not_there_are_refused() -> None:
    spec = scenario(cluster={"deployments": {"Rerankr": {"num_replicas": 2}}}).cluster
    with pytest.raises(UnknownScenarioError, match="Rerankr"):
        spec.build()


def test_a_run_is_disturbed_by_surges_while_they_last_and_by_faults_to_the_end() -> None:
    surge = {"at_s": 3, "lasts_s": 2, "times": 4, "ramp_s": 1}
    assert scenario().disturbed_s() is None
    assert scenario(traffic=_TRAFFIC | {"surges": [surge]}).disturbed_s() == (3, 6)
    noisy = [{"name": "n", "surges": [surge]}, {"name": "a"}]
    assert scenario(traffic=_TRAFFIC | {"tenants": noisy}).disturbed_s() == (3, 6)
    kill = {"at_s": 4, "fault": "kill -9 of one Embedder"}
    assert scenario(events=[kill]).disturbed_s() == (4, 10)


def test_scaled_is_the_same_at_another_rate() -> None:
    four = scenario().scaled(4)
    assert four.traffic.requests_per_s == 20
    assert four.scaled(0.25) == scenario()


@pytest.mark.parametrize(
    "more",
    [
        {"events": [{"at_s": 1, "fault": "kill -9 of one Dishwasher"}]},
        {"events": [{"at_s": -1, "fault": "none"}]},
        {"trafic": {}},
        {"cluster": {"replicas": 2}},
    ],
    ids=str,
)
def test_what_it_may_not_say_is_refused(more: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        scenario(**more)


def test_a_name_that_is_not_there_is_an_error_with_those_that_are() -> None:
    with pytest.raises(UnknownScenarioError, match="spike"):
        load_scenario("spikes")
    with pytest.raises(UnknownScenarioError, match="steady"):
        load_slo("nothing")
