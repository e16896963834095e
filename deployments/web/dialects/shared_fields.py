"""What the vendors' dialects have in common: fields of a body, and how a limit of theirs is met.

A field that would change the answer is either implemented or refused by `only` with the reason;
one that changes nothing is declared, and described as having no effect.
"""

import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, Field, model_validator

from deployments.text.prompts import Cut
from deployments.web.schemas import DeadlineMs, Wire

MAX_DOCUMENTS = 1_000

Truncate = Literal["NONE", "START", "END"]

_NO_EFFECT = Field(description="Accepted, and has no effect.")


class VendorBody(Wire):
    """A body as vendors' clients send it: null stands for a field that was not given."""

    user: Annotated[str | None, _NO_EFFECT] = None
    request_id: Annotated[str | None, _NO_EFFECT] = None
    priority: Annotated[int | None, _NO_EFFECT] = None
    deadline_ms: DeadlineMs | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if value is not None}


class RelevantDocument(BaseModel):
    """A document by its place in the request, and its relevance in [0, 1]."""

    index: int
    relevance_score: float


def only(value: object, reason: str) -> AfterValidator:
    """For a field of which one value is what happens here anyway: another is refused."""

    def check(given: object) -> object:
        if given != value:
            raise ValueError(f"must be {json.dumps(value)} or absent: {reason}")
        return given

    return AfterValidator(check)


def cut(truncate: Truncate, max_tokens: int | None = None) -> Cut | None:
    """Cohere's and NIM's `truncate` names the end of a text that goes; NONE refuses a long one."""
    if truncate == "NONE":
        return None
    return Cut(max_tokens, keep="end" if truncate == "START" else "start")
