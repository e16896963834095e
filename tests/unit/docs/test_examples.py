"""Every example in the documentation is run somewhere, or says why it is not; those that need no
cluster are run here."""

import re
import shlex
from typing import Any

import pytest
import yaml
from pydantic import TypeAdapter
from typer.testing import CliRunner

from cluster.__main__ import app
from deployments.batching.batcher import BatchLimits
from deployments.config import IndexConfig
from deployments.tenants.plans import Plans
from tests.pages import ROOT, Block, pages

_BLOCKS = [block for page in pages() for block in page.blocks()]
_COMMANDS = [block for page in pages() for block in page.examples("run")]
_RUNBOOK = "docs/runbook.md:"  # shows values of the chart, which tests/k8s renders
_SETTINGS = [
    block for block in _BLOCKS if block.language == "yaml" and not block.place.startswith(_RUNBOOK)
]
_LANGUAGES = {"sh", "python", "json", "text", "yaml", "mermaid"}


def _places(blocks: list[Block]) -> list[str]:
    return [block.place for block in blocks]


def test_blocks_are_of_languages_that_tests_know() -> None:
    assert {block.language for block in _BLOCKS} <= _LANGUAGES
    fences = sum(len(re.findall(r"^\s*```", page.text, re.MULTILINE)) for page in pages())
    assert fences == 2 * len(_BLOCKS), "a fence is indented, or is not closed"


@pytest.mark.parametrize("page", pages(), ids=lambda page: page.name)
def test_every_example_is_run_or_says_why_not(page: Any) -> None:
    for block in page.examples("not run"):
        assert len(block.marker) > len("not run: ") + 10, block.place
    for block in page.examples("run"):
        assert block.marker == "run: command", block.place
        assert block.code.startswith("winnow "), block.place
        assert block.shown, block.place
    for block in page.examples(""):
        if block.language == "sh":
            assert block.code.startswith("curl "), block.place
            assert block.shown, block.place
        else:
            assert re.search(r"print\(.*\)  # .", block.code), block.place
    marked = {block.marker.partition(": ")[0] for block in page.blocks()}
    assert marked <= {"", "run", "not run"}, page.name


@pytest.mark.parametrize("block", _COMMANDS, ids=_places(_COMMANDS))
def test_a_command_prints_what_is_shown(block: Block, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    [_, *arguments] = shlex.split(block.code.replace("\\\n", " "))
    done = CliRunner().invoke(app, arguments, env={"COLUMNS": "100"})
    assert done.exception is None
    assert block.shown is not None
    assert done.output.strip() == block.shown.strip()


@pytest.mark.parametrize("block", _SETTINGS, ids=_places(_SETTINGS))
def test_settings_are_what_a_profile_takes(block: Block) -> None:
    shown = yaml.safe_load(block.code)
    [(name, settings)] = shown.items()
    takes: dict[str, Any] = {"user_config": Plans | BatchLimits, "index": IndexConfig}
    TypeAdapter[Any](takes[name]).validate_python(settings)
