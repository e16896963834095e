"""The page on the review: every fault has its line, and what it names as a test is one."""

import ast
import re

from tests.pages import ROOT

_FAULTS = 46
_ROW = re.compile(r"^\| (\d+) \|[^|]+\| (mended|in part|open|struck)\b[^|]*\|([^|]*)\|([^|]*)\|$")
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")


def _rows() -> list[re.Match[str]]:
    lines = (ROOT / "docs" / "review.md").read_text().splitlines()
    return [row for row in map(_ROW.match, lines) if row]


def test_every_fault_has_its_line() -> None:
    assert [int(row[1]) for row in _rows()] == list(range(1, _FAULTS + 1))


def test_a_mended_fault_names_its_commit() -> None:
    for row in _rows():
        if row[2] in ("mended", "in part"):
            assert re.search(r"\b[0-9a-f]{7}\b", row[3]), row[1]


def test_every_test_that_is_named_is_there() -> None:
    named = [found for row in _rows() for found in _TEST.findall(row[4])]
    assert len(named) > 20
    for file, test in named:
        tree = ast.parse((ROOT / file).read_text())
        functions = {
            node.name
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        assert test in functions, f"{file}::{test}"
