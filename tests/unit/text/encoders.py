"""Encoders and tokenizers of the profiles' models, each loaded once."""

from functools import cache
from typing import Any

from transformers import AutoTokenizer

from cluster.config import AppConfig
from cluster.profile import application, load_profile
from deployments.text.tokenizer import EmbedEncoder, RerankEncoder
from deployments.text.tokenizer_files import load_tokenizer
from tests.models import model_directory


def config_of(profile: str) -> AppConfig:
    return AppConfig.model_validate(application(load_profile(profile))["args"])


@cache
def fast_tokenizer(name: str) -> Any:
    return load_tokenizer(model_directory(name))


@cache
def embed_encoder(profile: str, max_model_len: int = 512) -> EmbedEncoder:
    config = config_of(profile).embedder
    tokenizer = fast_tokenizer(config.name)
    return EmbedEncoder(tokenizer, config.template, max_model_len)


@cache
def rerank_encoder(profile: str, max_model_len: int = 512) -> RerankEncoder:
    config = config_of(profile).reranker
    tokenizer = fast_tokenizer(config.name)
    return RerankEncoder(tokenizer, config.template, max_model_len)


@cache
def reference(name: str) -> Any:
    return AutoTokenizer.from_pretrained(model_directory(name))
