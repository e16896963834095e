"""The Embedder deployment: rows of token ids in, unit vectors out.

Each replica owns one engine and one queue. Knows neither text (but for its golden check) nor
tenants' rights nor HTTP.
"""

from functools import partial
from pathlib import Path

import numpy as np

from deployments.batching.halves import Compute
from deployments.batching.model_replica import Answers, ModelReplica
from deployments.config import EmbedderConfig
from deployments.engine.golden import bypass_prefix_cache
from deployments.errors import WinnowError
from deployments.request.origin import Origin
from deployments.rows.model_output import ModelOutput
from deployments.rows.token_rows import TokenRows
from deployments.text.prompts import Cut
from deployments.text.tokenizer import EmbedEncoder
from deployments.text.tokenizer_files import load_tokenizer


class Embedder(ModelReplica):
    async def __init__(self, config: EmbedderConfig) -> None:  # type: ignore[misc] # Serve awaits it
        await self.start("embed", config, lambda engine: engine.embed, partial(_golden, config))

    async def embed(
        self, rows: TokenRows, timeout_s: float, origin: Origin, contract: str
    ) -> ModelOutput | WinnowError:
        """Unit vectors, float32 [rows, dimensions]; errors are those of `submit`."""
        return await self.submit(rows, timeout_s, origin, contract)


def _golden(config: EmbedderConfig, directory: Path) -> Answers:
    """The cosines of the golden pairs."""
    encoder = EmbedEncoder(load_tokenizer(directory), config.template, config.engine.max_model_len)
    queries = encoder.queries([golden.query for golden in config.golden], Cut()).rows
    documents = encoder.documents([golden.document for golden in config.golden], Cut()).rows

    async def answers(embed: Compute) -> list[float]:
        asked, found = (
            await embed(bypass_prefix_cache(queries)),
            await embed(bypass_prefix_cache(documents)),
        )
        width = asked.values.shape[1]
        if width != config.dimensions:
            raise ValueError(
                f"embedder.dimensions is {config.dimensions}, and the model's vectors have {width}:"
                f" write {width}"
            )
        cosines: list[float] = np.einsum("ij,ij->i", asked.values, found.values).tolist()
        return cosines

    return answers
