"""`winnow plan`: its arithmetic, and infeasible loads. Those in docs/planning.md are run by
tests/unit/docs."""

import json
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from cluster.__main__ import app
from cluster.capacity import (
    Engine,
    Load,
    TracedRequest,
    assumed_tokens_per_s,
    load_of,
    parameters,
    plan_capacity,
)
from cluster.commands.session import CommandError
from cluster.stages import ModelStage
from loadtest.traffic import RequestKind, Traffic, generate

_ENGINES: dict[ModelStage, Engine] = {
    "embed": Engine(model="Qwen3-Embedding-0.6B", tokens_per_s=1000, measured=True, gpus=0.5),
    "rerank": Engine(model="Qwen3-Reranker-8B", tokens_per_s=1000, measured=False, gpus=2),
}


def _load(**changes: float) -> Load:
    base = {"searches_per_s": 4, "candidates": 10, "query_tokens": 20, "document_tokens": 80}
    return Load.model_validate(base | changes)


def _plan(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["plan", *arguments], env={"COLUMNS": "100"})
    if done.exception:
        raise done.exception
    return done.output


def test_replicas_are_the_work_and_its_square_root() -> None:
    made = plan_capacity(_load(), _ENGINES, 10)
    embed, rerank = made.stages
    assert (embed.tokens_per_s, embed.replicas) == (80, 1)
    assert (rerank.tokens_per_s, rerank.replicas) == (4000, 6)
    assert made.gpus == 0.5 + 12
    assert made.bottleneck is rerank


@given(st.floats(0.1, 1e5), st.integers(1, 500), st.floats(1, 4000), st.floats(1, 3))
def test_more_of_anything_never_needs_fewer(
    rate: float, candidates: int, document_tokens: float, more: float
) -> None:
    load = _load(searches_per_s=rate, candidates=candidates, document_tokens=document_tokens)
    gpus = plan_capacity(load, _ENGINES, 1).gpus
    for field in ("searches_per_s", "document_tokens"):
        larger = load.model_copy(update={field: getattr(load, field) * more})
        assert plan_capacity(larger, _ENGINES, 1).gpus >= gpus
    assert all(one.saved > 0 for one in plan_capacity(load, _ENGINES, 1).advice)


def test_the_change_that_saves_most_comes_first() -> None:
    advice = plan_capacity(_load(), _ENGINES, 10).advice
    assert advice[0].change == "a model of 0.6B to rerank"
    assert [one.saved for one in advice] == sorted((one.saved for one in advice), reverse=True)


def test_an_objective_below_two_searches_time_is_not_to_be_held() -> None:
    """A search takes 1 s of an idle reranker, 20 ms of an idle embedder, and may wait as long."""
    assert plan_capacity(_load(), _ENGINES, 2.05).feasible
    assert not plan_capacity(_load(), _ENGINES, 2.03).feasible


def test_assumed_speed_is_of_the_parameters_in_the_name() -> None:
    assert parameters("Qwen/Qwen3-Reranker-0.6B") == 0.6e9
    assert parameters("all-MiniLM-L6-v2") is None
    assert assumed_tokens_per_s(0.6e9, "H100", 0.5) == pytest.approx(0.4 * 989e12 / 2 / 1.2e9)


def test_a_trace_is_planned_by_its_busiest_minute(tmp_path: Path) -> None:
    mix = (
        RequestKind(route="search", share=9, items=20),
        RequestKind(route="embed", share=1, items=30),
    )
    traffic = Traffic(duration_s=300, requests_per_s=20, day_s=300, swing=0.9, mix=mix)
    trace = generate(traffic, 1)
    trace.write(tmp_path / "trace.jsonl")
    lines = (tmp_path / "trace.jsonl").read_text().splitlines()
    load = load_of(TracedRequest.model_validate_json(line) for line in lines)
    peak = (trace.at_s >= 120) & (trace.at_s < 180)
    embed, rerank = trace.tokens()
    assert load.candidates == 20
    assert load.tokens_per_s("rerank") == pytest.approx(rerank[peak].sum() / 60, rel=1e-6)
    assert load.tokens_per_s("embed") == pytest.approx(embed[peak].sum() / 60, rel=1e-6)
    shown = _plan("--trace", str(tmp_path / "trace.jsonl"))
    assert f"{rerank[peak].sum() / 60:,.0f}" in shown


def test_what_was_measured_and_what_was_assumed_is_said(tmp_path: Path) -> None:
    times = {"rerank": {"batch_s": 0.0, "token_s": 1e-3, "square_s": 0.0}}
    (tmp_path / "times.json").write_text(json.dumps(times))
    shown = _plan("--measured", str(tmp_path / "times.json"))
    assert re.search(r"embed .* assumed", shown)
    assert re.search(r"rerank .* 1,000 measured", shown)


def _whole_gpu(tmp_path: Path) -> str:
    """File of measurements, in the form that `python -m loadtest.gpu` writes."""
    figure = {"model": "Qwen3-Reranker-0.6B", "gpu": "H100", "tokens_per_s": 9_000}
    (tmp_path / "gpu.json").write_text(json.dumps({"steps": [], "plan": {"rerank": figure}}))
    return str(tmp_path / "gpu.json")


def test_a_replica_gets_its_share_of_a_measured_gpu(tmp_path: Path) -> None:
    shown = _plan("--measured", _whole_gpu(tmp_path))
    assert re.search(r"embed .* assumed", shown)
    assert re.search(r"rerank .* 4,500 measured", shown)


@pytest.mark.parametrize("other", [["--gpu", "L4"], ["--reranker", "Qwen3-Reranker-4B"]])
def test_of_another_card_or_model_nothing_was_measured(other: list[str], tmp_path: Path) -> None:
    assert "measured" not in _plan("--measured", _whole_gpu(tmp_path), *other)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--gpu", "T1000"], "take one of H200"),
        (["--profile", "local"], "give --measured"),
        (["--trace", "nowhere.jsonl"], "nowhere.jsonl: No such file"),
        (["--qps", "-1"], "searches_per_s: Input should be greater than 0"),
    ],
)
def test_what_cannot_be_planned_says_why(arguments: list[str], message: str) -> None:
    with pytest.raises(CommandError, match=message):
        _plan(*arguments)
