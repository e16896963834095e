"""What vLLM is given of an engine's settings."""

import pytest

from deployments.config import EmbedderConfig
from deployments.engine.arguments import engine_arguments
from tests.engine.test_conformance import config_of


@pytest.mark.parametrize("name", ["quantization", "block_size", "enable_prefix_caching"])
def test_what_is_not_set_is_left_to_vllm(name: str) -> None:
    engine = EmbedderConfig.model_validate(config_of("local", "embedder")).engine
    unset, value = (
        engine.model_copy(update={name: None}),
        {"quantization": "fp8_per_channel"}.get(name, 32),
    )
    assert name not in engine_arguments(unset)
    assert engine_arguments(engine.model_copy(update={name: value}))[name] == value
