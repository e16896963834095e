"""The names of the measurements that others look up, and what follows from them together.

That is, what the service does of what its engines can; and the figures of `winnow plan --measured`.
"""

from collections.abc import Sequence
from typing import Any

from cluster.capacity import WholeGpu
from cluster.stages import ModelStage
from loadtest.gpu.budget import Record
from loadtest.gpu.settings import DOCUMENT_TOKENS, QUERY_TOKENS, TEXT_TOKENS, Settings

EMBEDDINGS, SEARCHES = "embeddings over HTTP", "searches over HTTP"


def text_name(tokens: int) -> str:
    return f"texts of {tokens} tokens"


def rerank_name(candidates: int, cached: bool) -> str:
    return f"reranks of {candidates}, prefix cache {'on' if cached else 'off'}"


def derived(records: Sequence[Record], settings: Settings, card: str | None) -> dict[str, Any]:
    """Return both, as far as what they need was measured; a plan's only of a card that is known."""
    rows = {
        row["name"]: row["rows_per_s"] for one in records for row in one.rows if "rows_per_s" in row
    }
    texts, pairs = text_name(TEXT_TOKENS), rerank_name(settings.candidates, cached=True)
    of_engine = {
        name: rows[name] / rows[engine]
        for name, engine in ((EMBEDDINGS, texts), (SEARCHES, pairs))
        if name in rows and engine in rows
    }
    # A plan counts the tokens of query and document, and not those of the template.
    counted: tuple[tuple[ModelStage, str, int], ...] = (
        ("embed", texts, TEXT_TOKENS),
        ("rerank", pairs, QUERY_TOKENS + DOCUMENT_TOKENS),
    )
    plan = {
        stage: WholeGpu(
            model=settings.stage(stage)["name"], gpu=card, tokens_per_s=rows[name] * tokens
        ).model_dump()
        for stage, name, tokens in counted
        if card is not None and name in rows
    }
    return {"service_of_engine": of_engine, "plan": plan}
