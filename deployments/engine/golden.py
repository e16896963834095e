"""Golden answers: known results that a replica must reproduce before and while it serves.

Wrong pooling, a missing end token, a changed template or a broken kernel yield vectors and scores
that look valid; only a known answer reveals them. Pure: replicas compute, this module compares.
"""

import logging
import uuid
from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict, Field

from deployments.rows.token_rows import TokenRows

logger = logging.getLogger(__name__)


class Golden(BaseModel):
    """A pair whose answer must lie between `at_least` and `at_most`.

    The answer is the cosine similarity for an embedder, the relevance score for a reranker.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    query: str
    document: str
    at_least: float = Field(ge=-1, le=1)
    at_most: float = Field(ge=-1, le=1)


class GoldenDrift(RuntimeError):
    """The model's answers are wrong; the replica must not serve."""


def bypass_prefix_cache(rows: TokenRows) -> TokenRows:
    """Return the rows under a new owner, so that the prefix cache cannot repeat an old answer."""
    return rows.owned_by(uuid.uuid4().hex)


def check_golden(goldens: Sequence[Golden], answers: Sequence[float]) -> None:
    """Raise GoldenDrift, naming the first pair whose answer is outside its bounds."""
    for golden, answer in zip(goldens, answers, strict=True):
        if not golden.at_least <= answer <= golden.at_most:
            raise GoldenDrift(
                f"{golden.query!r} / {golden.document!r}: {answer:.4f} is outside"
                f" [{golden.at_least}, {golden.at_most}]"
            )
    logger.info("%d golden answers hold", len(goldens))
