"""The real models, from the user's cache: made once on a machine."""

from pathlib import Path

import pytest
from rich.console import Console

from tests.models import model_directory


@pytest.fixture
def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture
def embedder() -> Path:
    return model_directory("all-MiniLM-L6-v2")


@pytest.fixture
def reranker() -> Path:
    return model_directory("ms-marco-MiniLM-L-12-v2")


@pytest.fixture
def tiny_embedder() -> Path:
    return model_directory("tiny-qwen3-embedding")


@pytest.fixture
def tiny_reranker() -> Path:
    return model_directory("tiny-qwen3-reranker")


@pytest.fixture
def corpus() -> Path:
    return model_directory("wikipedia-summaries-en")
