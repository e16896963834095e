"""Traffic: what users send, and when. The one source for the simulator and the load tests.

A `Traffic` describes tenants and requests; `generate` draws a `Trace` from it, the same for the
same seed. A trace is also a file of JSON lines, one request a line, so a recorded one can be used.

Arrivals are Poisson at a rate that changes with time. With `burstiness` above 0 they are a Cox
process: a gamma factor on the rate is drawn every few seconds, and `burstiness` is its squared
coefficient of variation. Knows no service and no clock.
"""

import json
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

Route = Literal["search", "embed", "rerank", "ingest"]

ROUTES: tuple[Route, ...] = ("search", "embed", "rerank", "ingest")
# The lanes of the service's routes (deployments/web/dialects).
LANES = {"search": "interactive", "embed": "default", "rerank": "default", "ingest": "bulk"}

_BURST_S = 5
_COLUMNS = ("at_s", "tenants", "routes", "query_tokens", "items", "item_tokens")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Lengths(_Strict):
    """Tokens of a text: log-normal with `median` and `sigma`, at least 1, at most `highest`."""

    median: float = Field(gt=0)
    sigma: float = Field(default=0.5, ge=0)
    highest: int = Field(default=8192, gt=0)

    def draw(self, random: np.random.Generator, count: int) -> NDArray[np.int32]:
        drawn = self.median * np.exp(self.sigma * random.standard_normal(count))
        return np.clip(drawn, 1, self.highest).astype(np.int32)


class RequestKind(_Strict):
    """One kind of request, a `share` of the mix: `items` texts or candidates of `item` tokens each.

    `query` is the query's length, for search and rerank.
    """

    route: Route
    share: float = Field(gt=0)
    items: int = Field(default=1, gt=0)
    item: Lengths = Lengths(median=100)
    query: Lengths = Lengths(median=14)


class Surge(_Strict):
    """Multiply the rate by `times` from `at_s` for `lasts_s`, with ramps of `ramp_s` seconds."""

    at_s: float = Field(ge=0)
    lasts_s: float = Field(gt=0)
    times: float = Field(gt=0)
    ramp_s: float = Field(default=0, ge=0)

    def factor(self, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Factor on the rate at each time, float64 [times]."""
        ramp = max(self.ramp_s, 1e-9)
        rises = np.clip((at_s - self.at_s) / ramp, 0, 1)
        falls = np.clip((at_s - self.at_s - self.lasts_s) / ramp, 0, 1)
        factor: NDArray[np.float64] = 1 + (self.times - 1) * (rises - falls)
        return factor


class Tenant(_Strict):
    """A tenant with its share of the requests; a noisy one has surges of its own."""

    name: str
    share: float = Field(default=1.0, gt=0)
    surges: tuple[Surge, ...] = ()


class Traffic(_Strict):
    """Traffic of `requests_per_s` on average, surges not counted.

    The rate follows a sine of period `day_s` and relative amplitude `swing`, from its lowest point.
    Each surge multiplies it.
    """

    duration_s: float = Field(gt=0)
    requests_per_s: float = Field(gt=0)
    burstiness: float = Field(default=0.0, ge=0)
    day_s: float | None = Field(default=None, gt=0)
    swing: float = Field(default=0.0, ge=0, lt=1)
    surges: tuple[Surge, ...] = ()
    tenants: tuple[Tenant, ...] = (Tenant(name="a"),)
    mix: tuple[RequestKind, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _swings_over_a_day(self) -> Self:
        if self.swing and self.day_s is None:
            raise ValueError("swing needs day_s")
        return self


@dataclass(frozen=True, slots=True)
class Trace:
    """Requests as columns, in order of time.

    `at_s` is float64; the others are int32: `tenants` indexes `names`, `routes` indexes ROUTES, and
    `item_tokens` is the length of each of the `items`.
    """

    names: tuple[str, ...]
    at_s: NDArray[np.float64]
    tenants: NDArray[np.int32]
    routes: NDArray[np.int32]
    query_tokens: NDArray[np.int32]
    items: NDArray[np.int32]
    item_tokens: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.at_s)

    def is_route(self, route: Route) -> NDArray[np.bool_]:
        found: NDArray[np.bool_] = self.routes == ROUTES.index(route)
        return found

    def tokens(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Tokens that each request gives the embedder, and the reranker: two int64 [requests]."""
        items, each = self.items.astype(np.int64), self.item_tokens.astype(np.int64)
        texts = self.is_route("embed") | self.is_route("ingest")
        embed = np.where(
            texts, items * each, np.where(self.is_route("search"), self.query_tokens, 0)
        )
        return embed, np.where(texts, 0, items * (self.query_tokens + each))

    def until(self, seconds: float) -> "Trace":
        """Return the requests before `seconds`."""
        end = int(np.searchsorted(self.at_s, seconds))
        return replace(self, **{name: getattr(self, name)[:end] for name in _COLUMNS})

    def beside(self, other: "Trace") -> "Trace":
        """Merge two traces in time; equal tenant names stay different tenants."""
        shifted = replace(other, tenants=other.tenants + np.int32(len(self.names)))
        order = np.argsort(np.concatenate([self.at_s, other.at_s]), kind="stable")
        columns = {
            name: np.concatenate([getattr(self, name), getattr(shifted, name)])[order]
            for name in _COLUMNS
        }
        return Trace(self.names + other.names, **columns)

    def write(self, path: Path) -> None:
        with path.open("w") as file:
            for n in range(len(self)):
                file.write(json.dumps(self._line(n)) + "\n")

    def _line(self, n: int) -> dict[str, float | str | int]:
        return {
            "at_s": round(float(self.at_s[n]), 4),
            "tenant": self.names[self.tenants[n]],
            "route": ROUTES[self.routes[n]],
            "query_tokens": int(self.query_tokens[n]),
            "items": int(self.items[n]),
            "item_tokens": int(self.item_tokens[n]),
        }


def read_trace(path: Path) -> Trace:
    """Read a file in the form of `Trace.write`; its lines may be in any order."""
    with path.open() as file:
        lines = [json.loads(line) for line in file if line.strip()]
    lines.sort(key=lambda line: line["at_s"])
    names = sorted({line["tenant"] for line in lines})

    def column(key: str) -> NDArray[np.int32]:
        return np.array([line[key] for line in lines], np.int32)

    return Trace(
        tuple(names),
        np.array([line["at_s"] for line in lines], np.float64),
        np.array([names.index(line["tenant"]) for line in lines], np.int32),
        np.array([ROUTES.index(line["route"]) for line in lines], np.int32),
        column("query_tokens"),
        column("items"),
        column("item_tokens"),
    )


def generate(traffic: Traffic, seed: int) -> Trace:
    """Draw a trace."""
    random = np.random.default_rng(seed)
    at_s, tenants = _arrivals(traffic, random)
    shares = np.array([sent.share for sent in traffic.mix])
    kinds = random.choice(len(traffic.mix), len(at_s), p=shares / shares.sum())
    columns = np.zeros((4, len(at_s)), np.int32)
    for number, sent in enumerate(traffic.mix):
        mine = np.flatnonzero(kinds == number)
        asks = sent.route in ("search", "rerank")
        columns[0, mine] = ROUTES.index(sent.route)
        columns[1, mine] = sent.query.draw(random, len(mine)) if asks else 0
        columns[2, mine] = sent.items
        columns[3, mine] = sent.item.draw(random, len(mine))
    names = tuple(tenant.name for tenant in traffic.tenants)
    return Trace(names, at_s, tenants, *columns)


def rate(traffic: Traffic, at_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Expected requests/s of each tenant at these times, float64 [tenants, times]."""
    shared = np.full(len(at_s), traffic.requests_per_s)
    if traffic.day_s is not None:
        shared *= 1 - traffic.swing * np.cos(2 * math.pi * at_s / traffic.day_s)
    for surge in traffic.surges:
        shared *= surge.factor(at_s)
    total = sum(tenant.share for tenant in traffic.tenants)
    rates = np.stack([shared * tenant.share / total for tenant in traffic.tenants])
    for row, tenant in zip(rates, traffic.tenants, strict=True):
        for surge in tenant.surges:
            row *= surge.factor(at_s)
    return rates


def _arrivals(
    traffic: Traffic, random: np.random.Generator
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    seconds = np.arange(math.ceil(traffic.duration_s), dtype=np.float64)
    rates = rate(traffic, seconds + 0.5)
    if traffic.burstiness:
        shape = 1 / traffic.burstiness
        bursts = random.gamma(shape, 1 / shape, (len(rates), len(seconds) // _BURST_S + 1))
        rates = rates * np.repeat(bursts, _BURST_S, axis=1)[:, : len(seconds)]
    counts = random.poisson(rates)
    tenants = np.repeat(np.arange(len(rates)), counts.sum(axis=1)).astype(np.int32)
    begins = np.concatenate([np.repeat(seconds, row) for row in counts])
    at_s = begins + random.random(len(begins))
    order = np.argsort(at_s, kind="stable")
    kept = order[at_s[order] < traffic.duration_s]
    return at_s[kept], tenants[kept]
