"""Objectives hold for the requests they are about, and never without a request."""

import math
from typing import Any

import pytest
from pydantic import ValidationError

from loadtest.run.open_loop import Answer, Outcome
from loadtest.run.results import Results
from loadtest.run.slo import Check, Slo, evaluate
from loadtest.traffic import Route

_START_S = 1000.0


def outcome(
    due_s: float,
    latency_s: float,
    error: str | None = None,
    tenant: str = "a",
    route: Route = "embed",
) -> Outcome:
    due_s += _START_S
    answer = Answer(200 if error is None else 503, error)
    return Outcome(tenant, route, due_s, due_s + 0.001, due_s + latency_s, 1, answer)


def results(*outcomes: Outcome) -> Results:
    return Results.of(outcomes, _START_S)


def checks(
    objective: dict[str, Any], seen: Results, disturbed_s: tuple[float, float] | None = None
) -> list[Check]:
    return evaluate(Slo.model_validate({"objectives": [objective]}), seen, disturbed_s)


def test_each_limit_is_a_check_of_its_own() -> None:
    seen = results(*(outcome(n, 0.01 * (n + 1)) for n in range(99)), outcome(99, 1, "overloaded"))
    limits = {"p50_ms": 499, "p99_ms": 1000, "failed_share": 0.01, "within_ms": 500}
    p50, p99, failed, good = checks(limits | {"good_share": 0.51}, seen)
    # The 99 answered requests: 10 to 990 ms.
    assert [p50.seen, p99.seen] == pytest.approx([500, 980.2])
    # All 100 requests.
    assert [failed.seen, good.seen] == [0.01, 0.5]
    assert [one.passed for one in (p50, p99, failed, good)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("whom", "p99_ms"),
    [
        ({}, 400),
        ({"route": "search"}, 100),
        ({"lane": "default"}, 400),
        ({"lane": "bulk"}, 300),
        ({"tenant": "b"}, 200),
        ({"but_tenant": "c"}, 300),
        ({"lane": "default", "but_tenant": "c"}, 200),
    ],
    ids=str,
)
def test_an_objective_is_about_its_requests(whom: dict[str, str], p99_ms: float) -> None:
    seen = results(
        outcome(0, 0.1, tenant="a", route="search"),
        outcome(1, 0.2, tenant="b", route="embed"),
        outcome(2, 0.3, tenant="a", route="ingest"),
        outcome(3, 0.4, tenant="c", route="rerank"),
    )
    [found] = checks(whom | {"p99_ms": 1000}, seen)
    assert found.seen == pytest.approx(p99_ms, rel=0.02)


def test_the_ratio_is_of_the_disturbed_part_to_what_came_before() -> None:
    calm = [outcome(n, 0.1) for n in range(10)]
    disturbed = [outcome(10 + n, 0.3) for n in range(10)]
    after = [outcome(20 + n, 9.0) for n in range(10)]
    seen = results(*calm, *disturbed, *after)
    [found] = checks({"p99_ratio": 2.9}, seen, (10, 20))
    assert found.seen == pytest.approx(3)
    assert not found.passed
    [never] = checks({"p99_ratio": 2.9}, seen)
    assert math.isnan(never.seen)
    assert not never.passed


def test_what_was_not_seen_does_not_hold() -> None:
    limits = {"p50_ms": 1, "failed_share": 1, "within_ms": 1, "good_share": 0}
    assert not any(one.passed for one in checks(limits | {"route": "search"}, results()))


@pytest.mark.parametrize(
    "objective",
    [{}, {"route": "search"}, {"good_share": 0.9}, {"within_ms": 5}, {"p98_ms": 5}, {"lane": "x"}],
    ids=str,
)
def test_an_objective_that_says_nothing_or_too_much_is_refused(objective: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Slo.model_validate({"objectives": [objective]})
