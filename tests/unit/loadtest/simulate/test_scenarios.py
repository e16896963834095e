"""A scenario's cell has production's replicas, and what happens to it happens."""

import pytest

from loadtest.simulate import scenarios
from loadtest.simulate.scenarios import Scenario, play


def test_a_scenario_is_played_on_productions_replicas_and_its_events_happen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lose = scenarios.SCENARIOS["region"].events[0][1]
    short = Scenario("short", requests_per_s=20, replicas=3, seconds=20, events=((10, lose),))
    monkeypatch.setitem(scenarios.SCENARIOS, "short", short)
    outcome = play("short")
    assert outcome.failures() == 0
    # Half a GPU each; the embedder's two stay, one of the three is lost halfway and, after the
    # 5 s of a health check, asked for again.
    assert 3600 * outcome.gpu_hours["embed"] == pytest.approx(0.5 * 2 * 20, abs=1)
    assert 3600 * outcome.gpu_hours["rerank"] == pytest.approx(0.5 * (3 * 20 - 5), abs=1.5)
