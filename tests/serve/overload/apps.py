"""Winnow with engines that compute nothing at a set pace, and write down how much."""

from pathlib import Path

from ray.serve import Application

from cluster.config import AppConfig
from deployments.config import EmbedderConfig
from deployments.embedder import Embedder
from deployments.engine.base import PoolingEngine
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from loadtest.overhead.apps import graph
from loadtest.paced import PacedEngine, PacedReranker

COMPUTED = "computed_tokens"


class NotingEngine(PacedEngine):
    def __init__(self, width: int, file: Path) -> None:
        super().__init__(width)
        self._computed = 0
        self._file = file

    async def embed(self, rows: TokenRows) -> ModelOutput:
        self._computed += rows.total_tokens
        self._file.write_text(str(self._computed))
        return await super().embed(rows)


class NotingEmbedder(Embedder):
    async def __init__(self, config: EmbedderConfig, file: Path) -> None:  # type: ignore[misc] # Serve awaits it
        engine: PoolingEngine = NotingEngine(config.dimensions, file)
        self.attach("embed", config, "paced", engine, lambda one: one.embed)


def winnow(config: AppConfig) -> Application:
    file = Path(config.router.control.directory) / COMPUTED
    return graph(config, NotingEmbedder, PacedReranker, file)
