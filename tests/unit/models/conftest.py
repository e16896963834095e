"""The models themselves, from the cache that the program uses: made once on a machine."""

from pathlib import Path

import pytest
from rich.console import Console

from cluster.models.pull import default_cache, resolve


@pytest.fixture
def quiet() -> Console:
    return Console(quiet=True)


@pytest.fixture
def embedder(quiet: Console) -> Path:
    return Path(resolve("all-MiniLM-L6-v2", default_cache(), quiet))


@pytest.fixture
def reranker(quiet: Console) -> Path:
    return Path(resolve("ms-marco-MiniLM-L-12-v2", default_cache(), quiet))


@pytest.fixture
def tiny_embedder(quiet: Console) -> Path:
    return Path(resolve("tiny-qwen3-embedding", default_cache(), quiet))


@pytest.fixture
def tiny_reranker(quiet: Console) -> Path:
    return Path(resolve("tiny-qwen3-reranker", default_cache(), quiet))


@pytest.fixture
def corpus(quiet: Console) -> Path:
    return Path(resolve("wikipedia-summaries-en", default_cache(), quiet))
