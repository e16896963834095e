"""Arguments that vLLM is given, made of an engine's settings."""

from pathlib import Path

import pytest

from cluster.config import AppConfig
from cluster.preflight import model_faults
from cluster.profile import application, load_profile
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


def test_a_quantization_that_vllm_does_not_know_is_told_before_a_start(tmp_path: Path) -> None:
    args = application(load_profile("local"))["args"]
    for stage in ("embedder", "reranker"):
        args[stage]["engine"]["model"] = str(tmp_path)
    args["embedder"]["engine"]["quantization"] = "fp8_per_channel"
    args["reranker"]["engine"]["quantization"] = "fp7"
    [(field, fault)] = model_faults(AppConfig.model_validate(args))
    assert field == "reranker.engine.quantization"
    assert fault.startswith("vLLM has no 'fp7': write one of ")
