"""The ways in which vLLM can compute in smaller numbers, by its names for them."""

from deployments.engine.arguments import quiet_environment


def methods() -> tuple[str, ...]:
    """Return the names that `EngineConfig.quantization` may have. Imports vLLM, for seconds."""
    quiet_environment()
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS

    return tuple(sorted(QUANTIZATION_METHODS))
