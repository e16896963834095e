"""Picks the engine a profile asks for. Imports it late: torch and vLLM belong only in the processes
that run a model."""

import asyncio

from deployments.engine.base import EngineConfig, PoolingEngine
from deployments.engine.copies import Check, EngineCopies


async def build_engine(config: EngineConfig, check: Check | None = None) -> PoolingEngine:
    """Load the model; takes seconds to minutes. Call it from the replica's event loop.

    `check` is for each of several copies: it raises if a copy must not serve.
    """
    if config.copies is not None:
        return await EngineCopies.start(config, check)
    if config.process == "inline":
        from deployments.engine.inline import InlineEngine

        return await asyncio.to_thread(InlineEngine, config)
    from deployments.engine.separate import SeparateEngine

    return SeparateEngine(config)
