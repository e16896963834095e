"""Inputs of /v1/embeddings as clients send them: a text or several, each bare or as Jina's
object, or lists of OpenAI's token ids in place of texts."""

from typing import Annotated, Any

from pydantic import Discriminator, Field, Tag

from deployments.errors import InvalidRequest
from deployments.web.dialects.shared_fields import EmbedText, Refused, VendorObject
from deployments.web.schemas import MAX_TEXT_CHARACTERS
from deployments.web.service import Service

MAX_INPUTS = 2_048


class ObjectInput(VendorObject):
    """Jina's form for texts mixed with images, of which only texts are taken."""

    text: EmbedText
    image: Annotated[Any, Refused("only texts are embedded here")] = None


def _item_form(item: Any) -> str:
    return "as object" if isinstance(item, dict | ObjectInput) else "as text"


def _form(value: Any) -> str:
    first = value[0] if isinstance(value, list) and value else None
    if isinstance(first, int):
        return "as tokens"
    if isinstance(first, list):
        return "as token lists"
    if isinstance(value, dict | str | ObjectInput):
        return _item_form(value)
    return "as texts"


Item = Annotated[
    Annotated[EmbedText, Tag("as text")] | Annotated[ObjectInput, Tag("as object")],
    Discriminator(_item_form),
]
TokenIds = Annotated[
    list[Annotated[int, Field(ge=0, strict=True)]],
    # There may be a million, and pydantic would describe each that is wrong.
    Field(min_length=1, max_length=MAX_TEXT_CHARACTERS, fail_fast=True),
]
_SEVERAL = Field(min_length=1, max_length=MAX_INPUTS)
Inputs = Annotated[
    Annotated[EmbedText, Tag("as text")]
    | Annotated[ObjectInput, Tag("as object")]
    | Annotated[list[Item], _SEVERAL, Tag("as texts")]
    | Annotated[TokenIds, Tag("as tokens")]
    | Annotated[list[TokenIds], _SEVERAL, Tag("as token lists")],
    Discriminator(_form),
]


def input_texts(given: Any, service: Service) -> list[str]:
    """The texts of an `Inputs`, in their order. Raises InvalidRequest for token ids that cannot be
    read."""
    if _form(given) == "as tokens":
        return [_decoded(given, service)]
    if _form(given) == "as token lists":
        return [_decoded(ids, service) for ids in given]
    items = given if isinstance(given, list) else [given]
    return [item if isinstance(item, str) else item.text for item in items]


def _decoded(ids: list[int], service: Service) -> str:
    text = service.text_of_tokens(ids)
    if "\x00" in text or len(text) > MAX_TEXT_CHARACTERS:
        raise InvalidRequest(
            "'input' holds a NUL character (\\u0000) or a text of more than"
            f" {MAX_TEXT_CHARACTERS} characters: remove it, or shorten it",
            param="input",
        )
    return text
