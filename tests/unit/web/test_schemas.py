"""Texts and metadata that a document may have."""

from typing import Any

import pytest
from pydantic import ValidationError

from deployments.web.schemas import Document


@pytest.mark.parametrize(
    "metadata",
    [{"code": r"if c == '\u0000':"}, {r"\u0000": 1}, {"lines": [r"\u0000", r"\x00", "\\"]}],
)
def test_source_code_that_spells_a_nul_is_no_nul(metadata: dict[str, Any]) -> None:
    assert Document(id="a", text="x", metadata=metadata).metadata == metadata


@pytest.mark.parametrize("metadata", [{"a": "\x00"}, {"a\x00": 1}, {"a": ["b", "c\x00"]}])
def test_a_nul_is_refused(metadata: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="NUL"):
        Document(id="a", text="x", metadata=metadata)


@pytest.mark.parametrize("text", [" ", "\n", "\u00a0", "\u200b", "\ufeff", " \u200b\ufeff\u2060\t"])
def test_a_text_of_which_nothing_can_be_seen_is_refused(text: str) -> None:
    with pytest.raises(ValidationError, match="can be seen"):
        Document(id="a", text=text)
    assert Document(id="a", text=f"{text}x{text}").text == f"{text}x{text}"
