"""Capacity planning: how many replicas and GPUs a load needs, computed from its tokens.

A stage is sized by the rule that scales it (deployments/autoscaling/policy.py): R + headroom *
sqrt(R) replicas for a load of R replicas. A replica's throughput is measured, or else assumed: 2
FLOP a parameter and token, at a share of the GPU's dense bfloat16 peak. Attention, retrieval and
the Routers are not counted.

Pure: knows no command line, no file and no cluster.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from cluster.stages import ModelStage
from deployments.autoscaling.policy import square_root_staffing

# Dense bfloat16 FLOP/s from NVIDIA's data sheets (the L4's and L40S's are half of what is quoted
# with sparsity).
GPUS: dict[str, float] = {
    "H200": 989e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L4": 121e12,
}
# Assumed share of the peak.
_UTILISATION = 0.4
_HEADROOM = 1.0
# A search waits for the batch before its own, at each stage: the objective has to hold both.
_BATCHES_A_STAGE = 2


class Load(BaseModel):
    """The peak load: searches a second, their lengths in tokens, and tokens of other requests."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    searches_per_s: float = Field(gt=0)
    candidates: int = Field(default=50, ge=0)
    query_tokens: float = Field(default=16, gt=0)
    document_tokens: float = Field(default=200, gt=0)
    # Embeddings, reranks and ingestion.
    embed_tokens_per_s: float = Field(default=0, ge=0)
    rerank_tokens_per_s: float = Field(default=0, ge=0)

    def tokens_per_s(self, stage: ModelStage) -> float:
        """Tokens a second that arrive at the stage."""
        if stage == "embed":
            return self.searches_per_s * self.query_tokens + self.embed_tokens_per_s
        return self.searches_per_s * self.rerank_tokens() + self.rerank_tokens_per_s

    def rerank_tokens(self) -> float:
        """Tokens that one search gives the reranker."""
        return self.candidates * (self.query_tokens + self.document_tokens)


class Engine(BaseModel):
    """A replica of one stage: its throughput, `measured` or assumed, and its GPUs."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    tokens_per_s: float = Field(gt=0)
    measured: bool
    gpus: float = Field(ge=0)


class WholeGpu(BaseModel):
    """The measured throughput of a model that has a GPU for itself (loadtest/gpu).

    Its tokens are a load's: those of a rerank's query and document, without the template's.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str
    gpu: str
    tokens_per_s: float = Field(gt=0)

    def share(self, model: str, gpu: str, gpus: float) -> float | None:
        """Return the throughput on a share of it; None for another model, or card, or for more."""
        if (self.model, self.gpu) != (model, gpu) or not 0 < gpus <= 1:
            return None
        return gpus * self.tokens_per_s


class TracedRequest(BaseModel):
    """A line of a trace, as loadtest/traffic.py writes it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at_s: float
    tenant: str
    route: Literal["search", "embed", "rerank", "ingest"]
    query_tokens: int
    items: int
    item_tokens: int


@dataclass(frozen=True, slots=True)
class StageCapacity:
    """The size of one stage.

    `work` is the load in multiples of a replica's throughput; `alone_s` is the time of one search
    on an idle replica.
    """

    stage: ModelStage
    engine: Engine
    tokens_per_s: float
    work: float
    replicas: int
    alone_s: float

    @property
    def gpus(self) -> float:
        return self.replicas * self.engine.gpus


@dataclass(frozen=True, slots=True)
class Advice:
    """A change of load or models, and the GPUs it saves (replicas, on a profile without GPUs)."""

    change: str
    saved: float


@dataclass(frozen=True, slots=True)
class Capacity:
    """The planned stages; `feasible` if they can hold the objective; advice, best first."""

    stages: list[StageCapacity]
    bottleneck: StageCapacity
    feasible: bool
    advice: list[Advice]

    @property
    def gpus(self) -> float:
        return sum(stage.gpus for stage in self.stages)

    @property
    def size(self) -> float:
        """GPUs, or replicas on a profile without GPUs."""
        return self.gpus or sum(stage.replicas for stage in self.stages)


def parameters(model: str) -> float | None:
    """Read the number of parameters in a name such as Qwen3-Reranker-0.6B; None without one."""
    found = re.search(r"(\d+(?:\.\d+)?)B\b", model)
    return float(found[1]) * 1e9 if found else None


def assumed_tokens_per_s(parameter_count: float, gpu: str, gpus: float) -> float:
    """Throughput of one replica on `gpus` GPUs, or a share of one. KeyError for an unknown GPU."""
    return _UTILISATION * GPUS[gpu] * gpus / (2 * parameter_count)


def plan_capacity(load: Load, engines: dict[ModelStage, Engine], objective_s: float) -> Capacity:
    """Size every stage for the load, and list the changes that would save most."""
    made = _plan(load, engines, objective_s)
    options = [
        (
            f"rerank {load.candidates // 2} candidates instead of {load.candidates}",
            load.model_copy(update={"candidates": load.candidates // 2}),
            engines,
        ),
        (
            f"cut documents to {load.document_tokens / 2:.0f} tokens",
            load.model_copy(update={"document_tokens": load.document_tokens / 2}),
            engines,
        ),
        *_smaller_models(load, engines),
    ]
    advice = [
        Advice(change, made.size - _plan(changed, others, objective_s).size)
        for change, changed, others in options
    ]
    kept = sorted((one for one in advice if one.saved > 0), key=lambda one: -one.saved)
    return replace(made, advice=kept)


def _smaller_models(
    load: Load, engines: dict[ModelStage, Engine]
) -> Iterable[tuple[str, Load, dict[ModelStage, Engine]]]:
    """Variants with a model of 0.6 billion parameters, for stages whose throughput is assumed."""
    for stage, engine in engines.items():
        size = parameters(engine.model)
        if engine.measured or size is None or size <= 0.6e9:
            continue
        faster = engine.model_copy(update={"tokens_per_s": engine.tokens_per_s * size / 0.6e9})
        yield f"a model of 0.6B to {stage}", load, engines | {stage: faster}


def _plan(load: Load, engines: dict[ModelStage, Engine], objective_s: float) -> Capacity:
    stages = [_stage(name, load, engine) for name, engine in engines.items()]
    bottleneck = max(stages, key=lambda stage: (stage.gpus, stage.work))
    needed_s = sum(_BATCHES_A_STAGE * stage.alone_s for stage in stages)
    return Capacity(stages, bottleneck, needed_s <= objective_s, [])


def _stage(name: ModelStage, load: Load, engine: Engine) -> StageCapacity:
    tokens_per_s = load.tokens_per_s(name)
    work = tokens_per_s / engine.tokens_per_s
    replicas = square_root_staffing(work, work, _HEADROOM)
    one = load.query_tokens if name == "embed" else load.rerank_tokens()
    return StageCapacity(name, engine, tokens_per_s, work, replicas, one / engine.tokens_per_s)


def load_of(trace: Iterable[TracedRequest], window_s: float = 60) -> Load:
    """Return the load in the busiest `window_s` of a trace, by tokens.

    Raises ValueError if that window has no search.
    """
    windows: dict[int, list[TracedRequest]] = {}
    for request in trace:
        windows.setdefault(int(request.at_s / window_s), []).append(request)
    busiest = max(windows.values(), key=_tokens, default=[])
    searches = [one for one in busiest if one.route == "search"]
    if not searches:
        raise ValueError("the trace has no search in its busiest minute: nothing to plan by")
    candidates = sum(one.items for one in searches)
    documents = sum(one.items * one.item_tokens for one in searches)
    texts = [one for one in busiest if one.route in ("embed", "ingest")]
    reranks = [one for one in busiest if one.route == "rerank"]
    return Load(
        searches_per_s=len(searches) / window_s,
        candidates=round(candidates / len(searches)),
        query_tokens=sum(one.query_tokens for one in searches) / len(searches),
        document_tokens=documents / candidates,
        embed_tokens_per_s=_tokens(texts) / window_s,
        rerank_tokens_per_s=_tokens(reranks) / window_s,
    )


def _tokens(requests: Iterable[TracedRequest]) -> int:
    return sum(one.items * (one.query_tokens + one.item_tokens) for one in requests)
