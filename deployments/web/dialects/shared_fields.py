"""The policy of the vendors' routes, and the fields that their dialects have in common.

A field that is declared is honoured. One that would change the answer and cannot be honoured is
declared too, by `only` or `Refused`, and answered with a 400 that says what to do. Any other field
is ignored and named in the header IGNORED_HEADER of the answer. Values are read leniently ("true",
3.0), and null or "" stands for a field that was not given. Texts that were cut are told in the
header TRUNCATED_HEADER, by their index: no vendor's answer has a place for it.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Annotated, Any, ClassVar, Literal

import orjson
from fastapi import Response
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    StringConstraints,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from deployments.text.prompts import Cut
from deployments.web.schemas import MAX_TEXT_CHARACTERS, DeadlineMs, without_nul

MAX_DOCUMENTS = 1_000
IGNORED_HEADER = "x-winnow-ignored-fields"
TRUNCATED_HEADER = "x-winnow-truncated"
_MAX_HEADER_CHARACTERS = 512
# With ", " the shortest names have three characters each, so these are longer than the header.
_MAX_HEADER_NAMES = _MAX_HEADER_CHARACTERS // 3 + 2
_MAX_NAME_CHARACTERS = 64
_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
# What infinity's client sends for a model where its caller named none.
_ANY_MODEL = "default/not-specified"


class VendorObject(BaseModel):
    """A part of a vendor's body; fields that are not declared are kept and ignored."""

    model_config = ConfigDict(extra="allow")


class VendorBody(VendorObject):
    """A vendor's body; a field of the names in `zero_is_absent` is not given where it is 0."""

    zero_is_absent: ClassVar[frozenset[str]] = frozenset()
    # Here "" is a text, and wrong.
    _texts: ClassVar[frozenset[str]] = frozenset({"input", "query"})

    deadline_ms: DeadlineMs | None = None

    @model_validator(mode="before")
    @classmethod
    def _without_absent(cls, body: Any) -> Any:
        if not isinstance(body, dict):
            return body
        return {name: value for name, value in body.items() if not cls._absent(name, value)}

    @classmethod
    def _absent(cls, name: str, value: Any) -> bool:
        if value == "":
            return name not in cls._texts
        if name == "model" and value == _ANY_MODEL:
            return True
        return value is None or (name in cls.zero_is_absent and value == 0)


def only_one_of(body: VendorBody, *names: str) -> None:
    """Raises ValueError where two fields that say the same thing are both given."""
    given = [name for name in names if name in body.model_fields_set]
    if len(given) > 1:
        raise ValueError(f"give either {given[0]} or {given[1]}")


def answer(content: Any, body: VendorBody, truncated: Sequence[int]) -> Response:
    """The answer to `body` as JSON; arrays of numpy are written without a copy. `truncated` has the
    indices of texts that were cut."""
    written = orjson.dumps(content, option=orjson.OPT_SERIALIZE_NUMPY)
    lists = {
        IGNORED_HEADER: _header_value(map(_safe, sorted(body.model_extra or {}))),
        TRUNCATED_HEADER: _header_value(map(str, truncated)),
    }
    headers = {name: value for name, value in lists.items() if value}
    return Response(written, media_type="application/json", headers=headers)


def _safe(name: str) -> str:
    """The beginning of a name, with what a header may not hold replaced by "?"."""
    return _UNSAFE.sub("?", name[:_MAX_NAME_CHARACTERS])


def _header_value(names: Iterable[str]) -> str:
    """The names, as far as there is room; no more of them are made than there might be room for."""
    listed = ", ".join(islice(names, _MAX_HEADER_NAMES))
    if len(listed) <= _MAX_HEADER_CHARACTERS:
        return listed
    return listed[:_MAX_HEADER_CHARACTERS].rpartition(", ")[0] + ", ..."


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


@dataclass(frozen=True, slots=True)
class Refused:
    """Annotates a field that may only be absent or empty; `reason` says what to do instead."""

    reason: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"description": f"Refused: {self.reason}."}

    def _check(self, given: Any) -> Any:
        if given:
            raise ValueError(f"is refused, leave it out: {self.reason}")
        return given


# A text to embed: a blank one has a vector, as at OpenAI; "" has none.
EmbedText = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_TEXT_CHARACTERS),
    AfterValidator(without_nul),
]


def _truncate(given: object) -> object:
    """Jina's true and false, and names in small letters, as Cohere's."""
    if isinstance(given, bool):
        return "END" if given else "NONE"
    if isinstance(given, str):
        return {"TRUE": "END", "FALSE": "NONE"}.get(given.upper(), given.upper())
    return given


Truncate = Annotated[Literal["NONE", "START", "END"], BeforeValidator(_truncate)]


def cut(truncate: str, max_tokens: int | None = None) -> Cut | None:
    """Cohere's and NIM's `truncate` names the end of a text that goes; NONE refuses a long one."""
    if truncate == "NONE":
        return None
    return Cut(max_tokens, keep="end" if truncate == "START" else "start")
