"""The configuration of each deployment, as plain values: reading a profile loads no model code.

Numbers of replicas and batch limits are not here, but in the profile's `deployments`.
"""

import hashlib
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from deployments.engine.base import EngineConfig
from deployments.engine.golden import Golden
from deployments.text.prompts import EmbedTemplate, RerankTemplate, Truncation


class CallLimits(BaseModel):
    """Micro-batching of a Router's requests into calls to a stage.

    A call carries about `tokens`. A smaller one waits for more, 5 ms at most, while its tenant and
    lane have `at_once` calls under way.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    tokens: int = Field(default=8192, gt=0)
    at_once: int = Field(default=1, gt=0)


class EmbedCacheConfig(BaseModel):
    """The cache of embedded texts that the Routers of a node share. 0 `max_bytes` is no cache."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: str = "/tmp/winnow/embed_cache"
    max_bytes: int = Field(default=256 * 2**20, ge=0)


class ControlConfig(BaseModel):
    """The storage of tenants, keys, usage and rate limits.

    By default all of it is in `directory`, on this machine. Several machines share a PostgreSQL,
    whose URL is in `database_url_file`, and a Redis for rate limits, whose URL is in
    `redis_url_file`. The usage journal is always in `directory`. Hours of usage, and changes of
    tenants and keys, are kept for `usage_days` and `audit_days` (None: for ever).
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    directory: str
    database_url_file: str | None = None
    redis_url_file: str | None = None
    usage_days: int | None = Field(default=800, gt=0)
    audit_days: int | None = Field(default=800, gt=0)


class RequestLogConfig(BaseModel):
    """The request log: `success_ratio` of the requests that succeed have a line, and all that
    fail."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    success_ratio: float = Field(default=1.0, ge=0, le=1)


class RouterConfig(BaseModel):
    """Settings of the Router; the hashed keys in `keys_file` are imported at its start.

    `token_id_vocabulary` is a vocabulary file in tiktoken's format, say of cl100k_base, by which
    token ids in place of texts are decoded; without it they are refused. `ui` is whether the page
    at /ui is served, and `admin` whether the routes under /v1/admin are.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keys_file: str
    control: ControlConfig
    tokenizer_threads: int = Field(default=2, gt=0)
    embed_calls: CallLimits = CallLimits()
    rerank_calls: CallLimits = CallLimits()
    embed_cache: EmbedCacheConfig = EmbedCacheConfig()
    request_log: RequestLogConfig = RequestLogConfig()
    token_id_vocabulary: str | None = None
    ui: bool = True
    admin: bool = True


class ModelConfig(BaseModel):
    """A served model; `name` and `aliases` are the names that clients may use."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    aliases: tuple[str, ...] = ()
    template: EmbedTemplate | RerankTemplate
    engine: EngineConfig
    golden: tuple[Golden, ...] = Field(min_length=1)

    def contract(self, tokenizer: str) -> str:
        """Return a digest of what a Router and a replica must agree on to exchange token ids.

        `tokenizer` is the digest of the one that is read here: a model's name may stand for another
        commit tomorrow. Without a digest it is known by the model and its revision; with one, these
        are left out, since a rollout of other weights must not part Routers and replicas.
        """
        engine = self.engine
        ids = [tokenizer] if tokenizer else [engine.model, engine.revision]
        parts = [self.name, self.template.model_dump_json(), engine.max_model_len]
        return _digest(repr([*parts, *ids]))

    def fingerprint(self, weights: str) -> str:
        """Return the model's name with a digest of all that determines its answers.

        That is weights, tokenizer, template and length; not the dtype nor, for an embedder, the
        query's instruction, which may change without invalidating stored vectors.
        """
        engine = self.engine
        parts = [weights, engine.pooling, engine.max_model_len, engine.hf_overrides]
        return f"{self.name}:{_digest(repr([*parts, *self._identity()]))}"

    def _identity(self) -> list[Any]:
        return [self.template.model_dump_json()]


class EmbedderConfig(ModelConfig):
    """A served embedding model.

    `dimensions` is the width of its vectors. A Matryoshka model's may be cut down to
    `min_dimensions`. `truncate` applies to a text that is too long where /v1/embeddings does not
    say, as OpenAI's clients cannot.
    """

    template: EmbedTemplate
    dimensions: int = Field(gt=0)
    min_dimensions: int | None = Field(default=None, gt=0)
    truncate: Truncation = "NONE"

    @model_validator(mode="after")
    def _widths_in_order(self) -> Self:
        if self.min_dimensions is not None and self.min_dimensions > self.dimensions:
            raise ValueError(
                f"min_dimensions is {self.min_dimensions} and dimensions {self.dimensions}: make"
                " the first at most the second"
            )
        return self

    def _identity(self) -> list[Any]:
        return [self.template.prefix, self.template.suffix, self.dimensions]


class IndexConfig(BaseModel):
    """The vector store: `lancedb` in `directory`, a `postgres` database, or the `qdrant` cluster at
    `url`.

    `database_url_file` holds the URL of a PostgreSQL with pgvector, and a replica opens at most
    `connections` to it.

    The rest is for `qdrant`. `api_key_file` holds the cluster's key, if it needs one.
    `shard_number` cannot change once a collection is created. A write waits for
    `write_consistency_factor` of the `replication_factor` copies, by default for two.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    engine: Literal["lancedb", "postgres", "qdrant"] = "lancedb"
    directory: str | None = None
    database_url_file: str | None = None
    connections: int = Field(default=8, ge=2)
    url: str | None = None
    api_key_file: str | None = None
    shard_number: int = Field(default=12, gt=0)
    replication_factor: int = Field(default=2, gt=0)
    write_consistency_factor: int | None = Field(default=None, gt=0)

    @field_validator("url")
    @classmethod
    def _without_password(cls, url: str | None) -> str | None:
        if url is not None and "@" in urlsplit(url).netloc:
            raise ValueError("holds a user or a password: put the cluster's key into api_key_file")
        return url

    @model_validator(mode="after")
    def _has_a_place(self) -> Self:
        needed = _PLACES[self.engine]
        if not getattr(self, needed):
            raise ValueError(f"the {self.engine} index needs '{needed}': add it")
        return self


# The field that says where an engine's documents are.
_PLACES = {"lancedb": "directory", "postgres": "database_url_file", "qdrant": "url"}


class RerankerConfig(ModelConfig):
    template: RerankTemplate


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
