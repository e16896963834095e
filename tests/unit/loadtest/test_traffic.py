"""Traffic: reproducible, of the requested rate and mix, and the same after a round trip."""

from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from loadtest.traffic import Lengths, RequestKind, Surge, Tenant, Traffic, generate, read_trace

_MIX = (
    RequestKind(route="search", share=3, items=20, item=Lengths(median=100)),
    RequestKind(route="ingest", share=1, items=50, item=Lengths(median=300, highest=400)),
)


def _traffic(**changes: object) -> Traffic:
    base = {"duration_s": 1000, "requests_per_s": 20, "mix": _MIX}
    return Traffic.model_validate(base | changes)


def test_a_seed_makes_one_trace_and_another_another() -> None:
    traffic = _traffic(burstiness=0.5)
    first, again, other = generate(traffic, 1), generate(traffic, 1), generate(traffic, 2)
    assert np.array_equal(first.at_s, again.at_s)
    assert np.array_equal(first.item_tokens, again.item_tokens)
    assert not np.array_equal(first.at_s[:100], other.at_s[:100])


def test_rate_mix_and_lengths_are_as_asked() -> None:
    trace = generate(_traffic(), 1)
    assert len(trace) == pytest.approx(20_000, rel=0.03)
    assert (np.diff(trace.at_s) >= 0).all()
    searches = trace.is_route("search")
    assert searches.mean() == pytest.approx(0.75, abs=0.02)
    assert np.median(trace.item_tokens[searches]) == pytest.approx(100, rel=0.05)
    assert trace.item_tokens[~searches].max() == 400
    assert (trace.query_tokens[~searches] == 0).all()


def _dispersion(burstiness: float) -> float:
    """Variance over mean of the requests in 5 s: 1 for Poisson."""
    trace = generate(_traffic(burstiness=burstiness, duration_s=10_000), 3)
    counts = np.bincount((trace.at_s / 5).astype(int))
    return float(counts.var() / counts.mean())


def test_arrivals_are_poisson_unless_they_burst() -> None:
    assert _dispersion(0.0) == pytest.approx(1, abs=0.15)
    # 100 requests in 5 s: 1 + 100 * burstiness.
    assert _dispersion(0.5) == pytest.approx(51, rel=0.25)


def test_a_day_swings_and_a_surge_comes_and_goes() -> None:
    day = generate(_traffic(day_s=1000, swing=0.8), 1)
    counts = np.bincount((day.at_s / 100).astype(int))
    assert counts[0] < 0.4 * counts.mean()
    assert counts[4:6].mean() > 1.6 * counts.mean()
    surge = generate(_traffic(surges=(Surge(at_s=300, lasts_s=200, times=4),)), 1)
    counts = np.bincount((surge.at_s / 100).astype(int))
    assert counts[3:5].mean() == pytest.approx(4 * counts[:3].mean(), rel=0.15)


def test_a_noisy_tenant_surges_alone() -> None:
    noisy = Tenant(name="noisy", surges=(Surge(at_s=500, lasts_s=500, times=10),))
    trace = generate(_traffic(tenants=(Tenant(name="quiet"), noisy)), 1)
    late = trace.at_s > 500
    counts = {name: (trace.tenants[late] == n).sum() for n, name in enumerate(trace.names)}
    assert counts["noisy"] == pytest.approx(10 * counts["quiet"], rel=0.1)


def test_tokens_are_those_of_the_stages() -> None:
    trace = generate(_traffic(), 1)
    embed, rerank = trace.tokens()
    searches = trace.is_route("search")
    assert np.array_equal(embed[searches], trace.query_tokens[searches])
    assert np.array_equal(rerank[searches], 20 * (trace.query_tokens + trace.item_tokens)[searches])
    assert np.array_equal(embed[~searches], 50 * trace.item_tokens[~searches])
    assert not rerank[~searches].any()


def test_a_trace_comes_back_from_its_file(tmp_path: Path) -> None:
    tenants = (Tenant(name="b"), Tenant(name="a"))
    trace = generate(_traffic(duration_s=20, tenants=tenants), 1)
    trace.write(tmp_path / "trace.jsonl")
    back = read_trace(tmp_path / "trace.jsonl")
    assert np.allclose(back.at_s, trace.at_s, atol=1e-4)
    assert np.array_equal(back.tokens()[1], trace.tokens()[1])
    assert [back.names[n] for n in back.tenants] == [trace.names[n] for n in trace.tenants]


def test_a_swing_without_a_day_is_refused() -> None:
    with pytest.raises(ValidationError, match="day_s"):
        _traffic(swing=0.5)


def test_the_part_until_a_time_is_the_beginning_of_the_whole() -> None:
    trace = generate(_traffic(duration_s=20), 1)
    part = trace.until(5)
    assert 50 < len(part) < len(trace)
    assert part.at_s[-1] < 5 <= trace.at_s[len(part)]
    assert np.array_equal(part.item_tokens, trace.item_tokens[: len(part)])
    assert len(trace.until(100)) == len(trace)


def test_two_traces_side_by_side_keep_their_requests() -> None:
    quiet = generate(_traffic(duration_s=20, tenants=(Tenant(name="b"), Tenant(name="c"))), 1)
    flood = generate(_traffic(duration_s=20, tenants=(Tenant(name="noisy"),)), 2)
    both = quiet.beside(flood)
    assert (np.diff(both.at_s) >= 0).all()
    assert both.names == ("b", "c", "noisy")
    for one, mine in ((quiet, both.tenants < 2), (flood, both.tenants == 2)):
        assert np.array_equal(both.at_s[mine], one.at_s)
        assert np.array_equal(both.item_tokens[mine], one.item_tokens)
    assert np.array_equal(both.tenants[both.tenants < 2], quiet.tenants)
