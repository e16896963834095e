"""Mistakes in a configuration file, each told in one line: the field, and what to write there.

Turns pydantic's errors into these lines. Knows no configuration.
"""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

_MOST = 5


def mistakes(error: ValidationError, data: object, known_fields: Iterable[str]) -> str:
    """Describe at most five mistakes in `data`, a line each.

    A misspelt field is compared with `known_fields`.
    """
    known = sorted(known_fields)
    by_field: dict[str, list[str]] = {}
    for one in error.errors():
        by_field.setdefault(_path(one["loc"], data), []).append(_advice(one, known))
    # A field that may be of several types has a mistake for each.
    lines = [f"{field}: {', or '.join(dict.fromkeys(all_))}" for field, all_ in by_field.items()]
    more = [f"and {len(lines) - _MOST} more"] if len(lines) > _MOST else []
    return "\n".join(lines[:_MOST] + more)


def field_names(schema: object) -> Iterator[str]:
    """Yield every property name in a JSON schema."""
    if isinstance(schema, dict):
        yield from schema.get("properties", {})
        for value in schema.values():
            yield from field_names(value)
    elif isinstance(schema, list):
        for value in schema:
            yield from field_names(value)


def _path(location: tuple[int | str, ...], data: object) -> str:
    """Join the keys that lead to the mistake; an entry of a list goes by its `name`, if any."""
    keys: list[str] = []
    for key in location:
        if isinstance(data, list) and isinstance(key, int) and key < len(data):
            data = data[key]
            keys.append(str(data.get("name", key)) if isinstance(data, dict) else str(key))
        elif isinstance(data, dict) and key in data:
            data = data[key]
            keys.append(str(key))
        elif isinstance(data, dict) and key == location[-1]:
            keys.append(str(key))  # a missing field; other keys are pydantic's, of union members
    return ".".join(keys) or "the file"


def _advice(mistake: ErrorDetails, known: list[str]) -> str:
    kind, given = mistake["type"], mistake["input"]
    if kind == "extra_forbidden":
        close = get_close_matches(str(mistake["loc"][-1]), known, n=1)
        return f"no such field; did you mean '{close[0]}'?" if close else "no such field: remove it"
    if kind == "missing":
        return "is missing: add it"
    message = mistake["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    return f"{message}, not {_shown(given)}" if _is_scalar(given) else message


def _shown(given: Any) -> str:
    return repr(given) if isinstance(given, str) else str(given)


def _is_scalar(given: object) -> bool:
    return given is None or isinstance(given, str | int | float)
