"""The choice of engine by a profile's settings.

Engines are imported late: only replicas that run a model load torch and vLLM.
"""

import asyncio

from deployments.engine.base import EngineConfig, PoolingEngine
from deployments.engine.copies import Check, EngineCopies


async def build_engine(config: EngineConfig, check: Check | None = None) -> PoolingEngine:
    """Load the model, which takes seconds to minutes. Call it in the replica's event loop.

    Each of several copies must pass `check`, which raises if one must not serve.
    """
    if config.copies is not None:
        return await EngineCopies.start(config, check)
    if config.process == "inline":
        from deployments.engine.inline import InlineEngine

        return await asyncio.to_thread(InlineEngine, config)
    from deployments.engine.separate import SeparateEngine

    return SeparateEngine(config)
