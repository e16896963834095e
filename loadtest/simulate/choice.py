"""The choice of a replica by its tokens under way, against Serve's choice by calls.

The same trace runs through both, with calls batched to about equal size and with a call a request.
The one Router knows the tokens of every call, which is the best case for the choice by tokens;
several Routers would know less.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from deployments.config import CallLimits
from loadtest.simulate.cell import STAGES, CellSpec, Outcome, simulate
from loadtest.simulate.policies import FixedPolicy
from loadtest.simulate.profiled import production, stage_spec, with_batches_of
from loadtest.simulate.service_times import ROW_S, ServiceTimes
from loadtest.traffic import Lengths, RequestKind, Tenant, Trace, Traffic, generate

_REPLICAS = 8
_BATCH_TOKENS = 4096
# A large model on one GPU; assumed, because no GPU was available.
_TIMES = ServiceTimes(source="assumed", batch_s=0.01, token_s=1e-4, row_s=ROW_S)
_ROW_TOKENS, _SIGMA = 180, 0.5
# Most requests are small; most of the work is in the large ones.
_MIX = (
    RequestKind(route="rerank", share=0.9, items=8, item=Lengths(median=_ROW_TOKENS, sigma=_SIGMA)),
    RequestKind(
        route="rerank", share=0.1, items=300, item=Lengths(median=_ROW_TOKENS, sigma=_SIGMA)
    ),
)
_SMALL_ITEMS = 8
_UNPACKED = CallLimits(tokens=10**9, at_once=10**6)

BusyBy = Literal["calls", "tokens"]


@dataclass(frozen=True, slots=True)
class ChoiceResult:
    """Latency percentiles of the small requests and of all, seconds."""

    load: float
    packed: bool
    busy_by: BusyBy
    small_p50_s: float
    small_p99_s: float
    p99_s: float


def compare(loads: Sequence[float], seconds: float) -> Iterator[ChoiceResult]:
    """Simulate each combination for `seconds` at each of `loads`, shares of the capacity."""
    for load in loads:
        trace = _trace(load, seconds)
        for packed in (True, False):
            for busy_by in ("calls", "tokens"):
                outcome = _play(trace, packed, busy_by)
                small = outcome.latency_s[trace.items == _SMALL_ITEMS]
                yield ChoiceResult(
                    load,
                    packed,
                    busy_by,
                    _percentile(small, 50),
                    _percentile(small, 99),
                    outcome.percentile_s(99),
                )


def _trace(load: float, seconds: float) -> Trace:
    tenants = tuple(Tenant(name=name) for name in "abcdefgh")
    once = Traffic(duration_s=seconds, requests_per_s=1, tenants=tenants, mix=_MIX)
    can = _REPLICAS * _TIMES.tokens_per_s(_BATCH_TOKENS, _ROW_TOKENS)
    each = sum(sent.share * sent.items for sent in _MIX) * (
        _ROW_TOKENS * np.exp(_SIGMA**2 / 2) + _MIX[0].query.median
    )
    return generate(once.model_copy(update={"requests_per_s": load * can / each}), seed=21)


def _play(trace: Trace, packed: bool, busy_by: BusyBy) -> Outcome:
    made = stage_spec(production(), "rerank", _TIMES, replicas=_REPLICAS, highest=_REPLICAS)
    changes = {"busy_by": busy_by} | ({} if packed else {"calls": _UNPACKED})
    stage = with_batches_of(made, _BATCH_TOKENS).model_copy(update=changes)
    spec = CellSpec(stages=dict.fromkeys(STAGES, stage))
    return simulate(spec, {name: FixedPolicy() for name in STAGES}, trace)


def _percentile(latency_s: NDArray[np.float64], percent: float) -> float:
    return float(np.nanpercentile(latency_s, percent))
