"""The workflows run what a change has to pass, and the audit, with actions pinned to commits."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

_ROOT = Path(__file__).resolve().parents[3]
_FILES = sorted((_ROOT / ".github" / "workflows").glob("*.yml"))
_ACTION = re.compile(r"uses: [\w-]+/[\w-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+")
_ON = True  # the key `on` as YAML reads it


def _workflow(name: str) -> Any:
    return yaml.safe_load((_ROOT / ".github" / "workflows" / f"{name}.yml").read_text())


def _commands(name: str) -> list[str]:
    jobs = _workflow(name)["jobs"].values()
    return [step["run"] for job in jobs for step in job["steps"] if "run" in step]


def test_there_is_one_for_changes_and_one_for_known_faults() -> None:
    assert {file.stem for file in _FILES} == {"check", "audit"}
    assert _commands("check") == ["bash .ci/run"]
    assert _commands("audit") == ["make audit"]
    assert re.search(r"^audit:", (_ROOT / "Makefile").read_text(), re.MULTILINE)


def test_what_a_change_has_to_pass_needs_no_list_of_faults() -> None:
    """Its API cannot be reached from everywhere."""
    assert "audit" not in (_ROOT / ".ci" / "run").read_text()


def test_locks_are_audited_every_week_and_when_one_changes() -> None:
    on = _workflow("audit")[_ON]
    assert on["schedule"]
    for event in ("push", "pull_request"):
        assert "requirements/**" in on[event]["paths"]
        for path in on[event]["paths"]:
            assert [*_ROOT.glob(path.replace("/**", "/*"))], path


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.stem)
def test_actions_are_pinned_and_a_workflow_may_only_read(file: Path) -> None:
    lines = [line.strip(" -") for line in file.read_text().splitlines() if "uses:" in line]
    assert lines
    assert [line for line in lines if not _ACTION.fullmatch(line)] == []
    workflow = yaml.safe_load(file.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    jobs = workflow["jobs"].values()
    assert not [job for job in jobs if "permissions" in job]
    assert all("timeout-minutes" in job for job in jobs)
