"""Known answers that a replica must give before it serves, and while it does.

Wrong pooling, a lost end token, a changed template or a broken kernel give vectors and scores that
look like any others; only a known answer shows them. Pure: the stages compute, this compares.
"""

import logging
import uuid
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from deployments.rows.token_rows import TokenRows

logger = logging.getLogger(__name__)


class Golden(BaseModel):
    """For this pair, the model answers between `at_least` and `at_most`: the cosine of query and
    document for an embedder, the relevance score for a reranker."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str
    document: str
    at_least: float = Field(ge=-1, le=1)
    at_most: float = Field(ge=-1, le=1)


class GoldenDrift(RuntimeError):
    """The model does not answer as it should; the replica must not serve."""


def bypass_prefix_cache(rows: TokenRows) -> TokenRows:
    """The rows as nobody has asked them before: a prefix cache would repeat an old answer."""
    return rows.owned_by(uuid.uuid4().hex)


def check_golden(goldens: Sequence[Golden], answers: Sequence[float]) -> None:
    """Raises GoldenDrift naming the first pair whose answer lies outside its bounds."""
    for golden, answer in zip(goldens, answers, strict=True):
        if not golden.at_least <= answer <= golden.at_most:
            raise GoldenDrift(
                f"{golden.query!r} / {golden.document!r}: {answer:.4f} is outside"
                f" [{golden.at_least}, {golden.at_most}]"
            )
    logger.info("%d golden answers hold", len(goldens))
