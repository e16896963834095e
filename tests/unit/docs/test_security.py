"""The threat model: each threat has its tests, and what it names as a test is one."""

import ast
import re
from functools import cache

import pytest

from tests.pages import ROOT

_PAGE = (ROOT / "SECURITY.md").read_text()
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_DEFENDED = _PAGE.partition("## What is defended")[2].partition("\n## ")[0]
_ROWS = [line for line in _DEFENDED.splitlines() if line.startswith("| ")][1:]


@cache
def _functions(file: str) -> set[str]:
    tree = ast.parse((ROOT / file).read_text())
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    return {node.name for node in ast.walk(tree) if isinstance(node, functions)}


@pytest.mark.parametrize("row", _ROWS, ids=lambda row: row.split("|")[1].strip()[:40])
def test_every_threat_names_tests_that_are_there(row: str) -> None:
    named = _TEST.findall(row)
    assert named
    for file, test in named:
        assert test in _functions(file), f"{file}::{test}"


def test_there_are_threats() -> None:
    assert len(_ROWS) > 20
    assert "## What is not defended" in _PAGE
