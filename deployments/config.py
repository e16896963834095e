"""What each deployment is told. Plain values, so that whatever reads a profile needs no model code.

How many replicas there are and what a batch may hold is not here: that is the profile's
`deployments`.
"""

import hashlib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from deployments.engine.base import EngineConfig
from deployments.engine.golden import Golden
from deployments.text.prompts import EmbedTemplate, RerankTemplate, Truncation


class CallLimits(BaseModel):
    """How requests become calls to a stage. A call carries about `tokens`; one that would carry
    less waits for more while its tenant and lane have `at_once` under way."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(default=8192, gt=0)
    at_once: int = Field(default=4, gt=0)


class EmbedCacheConfig(BaseModel):
    """Vectors of texts that were embedded, for all Routers of a node. 0 `max_bytes` is no cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: str = "/tmp/winnow/embed_cache"
    max_bytes: int = Field(default=256 * 2**20, ge=0)


class ControlConfig(BaseModel):
    """Where tenants, keys, usage and the rates of quotas are kept.

    All of it in `directory`, on this machine. Several machines share a PostgreSQL, whose URL is in
    `database_url_file`, and a Redis for the rates, whose URL is in `redis_url_file`; usage still
    passes through `directory` on its way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: str
    database_url_file: str | None = None
    redis_url_file: str | None = None


class RouterConfig(BaseModel):
    """`keys_file` holds the first hashed keys, which the control store takes in.

    `token_id_vocabulary` is a vocabulary in tiktoken's format (cl100k_base for the clients there
    are), by which token ids in place of texts are read; without it they are refused.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: str
    control: ControlConfig
    tokenizer_threads: int = Field(default=2, gt=0)
    embed_calls: CallLimits = CallLimits()
    rerank_calls: CallLimits = CallLimits()
    embed_cache: EmbedCacheConfig = EmbedCacheConfig()
    token_id_vocabulary: str | None = None


class ModelConfig(BaseModel):
    """A model as Winnow serves it; `name` is what clients call it, and `aliases` what else they
    may call it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    aliases: tuple[str, ...] = ()
    template: EmbedTemplate | RerankTemplate
    engine: EngineConfig
    golden: tuple[Golden, ...] = Field(min_length=1)

    def contract(self) -> str:
        """What a Router that makes tokens and a replica that reads them must agree on."""
        engine = self.engine
        parts = [self.name, self.template.model_dump_json()]
        return _digest(repr([*parts, engine.model, engine.revision, engine.max_model_len]))

    def fingerprint(self, weights: str) -> str:
        """Names whatever decides an answer to given text: weights, tokenizer, template, length.

        The numbers' type is not part of it, and for an embedder the query's instruction is not:
        both may change without touching stored vectors.
        """
        engine = self.engine
        parts = [weights, engine.pooling, engine.max_model_len, engine.hf_overrides]
        return f"{self.name}:{_digest(repr([*parts, *self._identity()]))}"

    def _identity(self) -> list[Any]:
        return [self.template.model_dump_json()]


class EmbedderConfig(ModelConfig):
    """`dimensions` is the width of the vectors; they may be cut to any width from `min_dimensions`
    up if the model was trained for that (Matryoshka). `truncate` is what /v1/embeddings does with
    a text that is too long where the client does not say, as OpenAI's cannot."""

    template: EmbedTemplate
    dimensions: int = Field(gt=0)
    min_dimensions: int | None = Field(default=None, gt=0)
    truncate: Truncation = "NONE"

    def _identity(self) -> list[Any]:
        return [self.template.prefix, self.template.suffix, self.dimensions]


class IndexConfig(BaseModel):
    """`lancedb` keeps collections in `directory`; `qdrant` in the cluster at `url`.

    The rest is for `qdrant`: `api_key_file` holds the cluster's key, if it asks for one;
    `shard_number` cannot change once a collection is made; a write waits for
    `write_consistency_factor` of the `replication_factor` copies, for two unless said otherwise.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["lancedb", "qdrant"] = "lancedb"
    directory: str | None = None
    url: str | None = None
    api_key_file: str | None = None
    shard_number: int = Field(default=12, gt=0)
    replication_factor: int = Field(default=2, gt=0)
    write_consistency_factor: int | None = Field(default=None, gt=0)


class RerankerConfig(ModelConfig):
    template: RerankTemplate


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
