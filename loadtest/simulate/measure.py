"""Service times of a profile's engines here: batches of many shapes, timed and fitted."""

import asyncio
import statistics
import time
from typing import Any

import numpy as np
from rich.console import Console

from cluster.local.state import State
from cluster.models.pull import default_cache, resolve
from cluster.profile import application, load_profile, localise
from deployments.config import EmbedderConfig, ModelConfig, RerankerConfig
from deployments.engine.build import build_engine
from deployments.rows.token_rows import TokenRows
from loadtest.bench import machine
from loadtest.simulate.service_times import Sample, ServiceTimes, StageTimes

_SHAPES = [(1, 8), (1, 32), (1, 128), (1, 250), (4, 32), (16, 32), (64, 32), (8, 64), (32, 64)]
_SHAPES += [(8, 128), (16, 128), (4, 250), (8, 250)]
_REPEATS = 5
_LOWEST_ID, _HIGHEST_ID = 2000, 20000


def measure(profile_name: str, state: State, console: Console) -> StageTimes:
    """Build each engine in turn and measure it."""
    profile = load_profile(profile_name)
    local = localise(profile, state, lambda name: resolve(name, default_cache(), console), None)
    args = application(local)["args"]
    source = f"{profile_name} on {machine.processor()}"
    embed = EmbedderConfig.model_validate(args["embedder"])
    rerank = RerankerConfig.model_validate(args["reranker"])
    return StageTimes(
        embed=asyncio.run(_measure(embed, "embed", source)),
        rerank=asyncio.run(_measure(rerank, "score", source)),
    )


async def _measure(config: ModelConfig, method: str, source: str) -> ServiceTimes:
    engine = await build_engine(config.engine)
    compute: Any = getattr(engine, method)
    try:
        samples = [await _time(compute, rows, tokens) for rows, tokens in _SHAPES]
    finally:
        engine.close()
    return ServiceTimes.fit(samples, f"measured: {config.name}, {source}")


async def _time(compute: Any, rows: int, tokens: int) -> Sample:
    random = np.random.default_rng(tokens)
    took = []
    for _ in range(_REPEATS + 1):
        ids = random.integers(_LOWEST_ID, _HIGHEST_ID, (rows, tokens)).tolist()
        batch = TokenRows.pack(ids, [tokens // 2] * rows).owned_by("anyone")
        began = time.perf_counter()
        await compute(batch)
        took.append(time.perf_counter() - began)
    # The first warms up.
    return Sample((tokens,) * rows, statistics.median(took[1:]))
