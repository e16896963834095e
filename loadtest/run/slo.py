"""Objectives of a run: limits on all its requests or a part of them, and their evaluation."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from loadtest.run.results import Results
from loadtest.traffic import LANES, Route

Lane = Literal["interactive", "default", "bulk"]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Objective(_Strict):
    """Limits on the requests of `route`, `lane` and `tenant` (default: all) but `but_tenant`.

    Upper limits: percentiles of answered requests, the share that failed, and `p99_ratio`, p99
    during surges and faults over p99 before them. Lower limit: `good_share`, the share of all
    requests answered within `within_ms`. An objective that no request falls under does not hold.
    """

    route: Route | None = None
    lane: Lane | None = None
    tenant: str | None = None
    but_tenant: str | None = None

    p50_ms: float | None = Field(default=None, gt=0)
    p99_ms: float | None = Field(default=None, gt=0)
    failed_share: float | None = Field(default=None, ge=0, le=1)
    p99_ratio: float | None = Field(default=None, gt=0)
    good_share: float | None = Field(default=None, ge=0, le=1)
    within_ms: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _says_what_holds(self) -> Self:
        if (self.good_share is None) != (self.within_ms is None):
            raise ValueError("good_share and within_ms belong together")
        limits = (self.p50_ms, self.p99_ms, self.failed_share, self.p99_ratio, self.good_share)
        if all(limit is None for limit in limits):
            raise ValueError("an objective needs a limit")
        return self


class Slo(_Strict):
    """A file of objectives, all of which must hold."""

    objectives: tuple[Objective, ...] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Check:
    """One limit of an objective, and the figure `seen` (nan without a request)."""

    what: str
    seen: float
    limit: float
    at_least: bool = False

    @property
    def passed(self) -> bool:
        """False for nan."""
        return self.seen >= self.limit if self.at_least else self.seen <= self.limit


def evaluate(
    slo: Slo, results: Results, disturbed_s: tuple[float, float] | None = None
) -> list[Check]:
    """Check every limit. `disturbed_s` is when surges and faults began and ended, if any."""
    return [
        check
        for objective in slo.objectives
        for check in _checks(objective, results.where(_chosen(objective, results)), disturbed_s)
    ]


def _chosen(objective: Objective, results: Results) -> NDArray[np.bool_]:
    chosen = np.ones(len(results), np.bool_)
    if objective.route is not None:
        chosen &= results.routes == objective.route
    if objective.lane is not None:
        chosen &= np.isin(
            results.routes, [r for r, lane in LANES.items() if lane == objective.lane]
        )
    if objective.tenant is not None:
        chosen &= results.tenants == objective.tenant
    if objective.but_tenant is not None:
        chosen &= results.tenants != objective.but_tenant
    return chosen


def _checks(
    objective: Objective, results: Results, disturbed_s: tuple[float, float] | None
) -> Iterator[Check]:
    whom = _whom(objective)
    if objective.p50_ms is not None:
        yield Check(f"{whom}: p50, ms", results.percentile_ms(50), objective.p50_ms)
    if objective.p99_ms is not None:
        yield Check(f"{whom}: p99, ms", results.percentile_ms(99), objective.p99_ms)
    if objective.failed_share is not None:
        yield Check(f"{whom}: share failed", results.failed_share(), objective.failed_share)
    if objective.p99_ratio is not None:
        ratio = _p99_ratio(results, disturbed_s)
        yield Check(f"{whom}: p99 disturbed / before", ratio, objective.p99_ratio)
    if objective.good_share is not None and objective.within_ms is not None:
        what = f"{whom}: share within {objective.within_ms:g} ms"
        good = results.share_within(objective.within_ms / 1000)
        yield Check(what, good, objective.good_share, at_least=True)


def _p99_ratio(results: Results, disturbed_s: tuple[float, float] | None) -> float:
    if disturbed_s is None:
        return math.nan
    begins, ends = disturbed_s
    before = results.where(results.due_s < begins).percentile_ms(99)
    during = results.where((results.due_s >= begins) & (results.due_s < ends)).percentile_ms(99)
    return during / before


def _whom(objective: Objective) -> str:
    parts = [one for one in (objective.route, objective.lane, objective.tenant) if one]
    if objective.but_tenant:
        parts.append(f"not {objective.but_tenant}")
    return ", ".join(parts) or "all"
