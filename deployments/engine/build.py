"""Picks the engine a profile asks for. Imports it late: torch and vLLM belong only in the replicas
that run a model."""

import asyncio

from deployments.engine.base import EngineConfig, PoolingEngine


async def build_engine(config: EngineConfig) -> PoolingEngine:
    """Load the model; takes seconds to minutes. Call it from the replica's event loop."""
    if config.process == "inline":
        from deployments.engine.inline import InlineEngine

        return await asyncio.to_thread(InlineEngine, config)
    from deployments.engine.separate import SeparateEngine

    return SeparateEngine(config)
