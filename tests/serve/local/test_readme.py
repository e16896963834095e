"""The README's examples, run as they stand: curls answer what is shown, clients work."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.serve.cluster import Cluster

_README = (Path(__file__).parents[3] / "README.md").read_text()
_CURLS = re.findall(r"```sh\n(curl .*?)```\n+```json\n(.*?)```", _README, re.DOTALL)
_SCRIPTS = re.findall(r"```python\n(.*?)```", _README, re.DOTALL)
_ELLIPSIS = "…"


def run(cluster: Cluster, *command: str) -> str:
    environment = os.environ | {"WINNOW_URL": cluster.url, "WINNOW_API_KEY": cluster.api_key}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def assert_like(shown: Any, seen: Any, path: str = "$") -> None:
    """Equal, but for rounding, times, and what the README shortens with an ellipsis."""
    if shown == _ELLIPSIS:
        return
    if isinstance(shown, dict):
        assert isinstance(seen, dict), path
        assert shown.keys() == seen.keys(), path
        for key, value in shown.items():
            assert_like(value, seen[key], f"{path}.{key}")
    elif isinstance(shown, list):
        assert isinstance(seen, list), path
        whole = _ELLIPSIS not in shown
        head = shown if whole else shown[: shown.index(_ELLIPSIS)]
        assert len(seen) == len(head) if whole else len(seen) > len(head), path
        for number, value in enumerate(head):
            assert_like(value, seen[number], f"{path}[{number}]")
    elif isinstance(shown, float):
        assert seen == pytest.approx(shown, abs=0.01), path
    else:
        assert seen == shown, path


def without_chance(answer: Any) -> Any:
    """Times differ from run to run, and what a cache held; that they are there does not."""
    if isinstance(answer, list):
        return [without_chance(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    kept = {key: without_chance(value) for key, value in answer.items()}
    if "timings_ms" in kept:
        kept["timings_ms"] = sorted(kept["timings_ms"])
    if "cached_tokens" in kept:
        kept["cached_tokens"] = 0
    return kept


def test_every_curl_answers_what_is_shown(local: Cluster) -> None:
    assert len(_CURLS) > 15, "the README's examples were not found"
    for command, shown in _CURLS:
        seen = json.loads(run(local, "bash", "-c", command))
        assert_like(without_chance(json.loads(shown)), without_chance(seen), command)


@pytest.mark.parametrize("script", _SCRIPTS, ids=range(len(_SCRIPTS)))
def test_every_client_prints_what_is_shown(local: Cluster, script: str) -> None:
    shown = re.search(r"print\(.*\)  # (.*)$", script, re.MULTILINE)
    assert shown is not None
    assert run(local, sys.executable, "-c", script).strip() == shown[1]
