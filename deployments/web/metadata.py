"""Metadata of a document to store: which values it may have, and its texts. Knows no store."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

from pydantic import Field, ValidatorFunctionWrapHandler, WrapValidator

_Value = str | int | float | bool | Annotated[list[str], Field(fail_fast=True)] | None


def _storable(metadata: Any, describe: ValidatorFunctionWrapHandler) -> Any:
    """The metadata itself where all of its values may be stored. pydantic sees the first that may
    not, and describes it: there may be a million, since the size as JSON is checked last."""
    if not isinstance(metadata, dict):
        return describe(metadata)
    for name, value in metadata.items():
        if not (isinstance(name, str) and _may_be_stored(value)):
            return describe({name: value})
    return metadata


def _may_be_stored(value: Any) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return value is None or isinstance(value, str | int | float)


Metadata = Annotated[dict[str, _Value], WrapValidator(_storable)]


def metadata_texts(metadata: Mapping[str, Any]) -> Iterator[str]:
    """Its keys, and the texts among its values."""
    for key, value in metadata.items():
        yield key
        if isinstance(value, str):
            yield value
        elif isinstance(value, list):
            yield from value
