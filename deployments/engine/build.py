"""The choice of engine by a profile's settings.

Engines are imported late: only replicas that run a model load torch and vLLM.
"""

import asyncio

from deployments.engine.base import EngineConfig, PoolingEngine


async def build_engine(config: EngineConfig) -> PoolingEngine:
    """Load the model, which takes seconds to minutes. Call it in the replica's event loop."""
    if config.process == "inline":
        from deployments.engine.inline import InlineEngine

        return await asyncio.to_thread(InlineEngine, config)
    from deployments.engine.separate import SeparateEngine

    return SeparateEngine(config)
