"""The documentation's examples, run as they stand against a real cluster: curls answer what is
shown, scripts print it. Those that need no cluster are in tests/unit/docs."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.pages import Block, Page, pages
from tests.serve.cluster import Cluster

_ELLIPSIS = "…"
_PAGES = [page for page in pages() if page.examples("")]


@pytest.fixture(autouse=True)
def _no_collections_left(api: httpx.Client) -> Iterator[None]:
    """A page begins without collections, as it says, and may leave some."""
    yield
    for one in api.get("/v1/collections").json()["collections"]:
        name = one["name"]
        dropped = api.delete(f"/v1/collections/{name}", headers={"x-confirm-delete": name})
        assert dropped.status_code == 204


@pytest.mark.parametrize("page", _PAGES, ids=lambda page: page.name)
def test_the_examples_of_a_page_do_what_is_shown(local: Cluster, page: Page) -> None:
    for block in page.examples(""):
        if block.language == "sh":
            _answers_what_is_shown(local, block)
        else:
            _prints_what_is_shown(local, block)


def _answers_what_is_shown(cluster: Cluster, block: Block) -> None:
    assert block.shown is not None
    seen = json.loads(_run(cluster, "bash", "-c", block.code))
    _assert_like(_without_chance(json.loads(block.shown)), _without_chance(seen), block.place)


def _prints_what_is_shown(cluster: Cluster, block: Block) -> None:
    shown = re.search(r"print\(.*\)  # (.*)$", block.code, re.MULTILINE)
    assert shown is not None
    assert _run(cluster, sys.executable, "-c", block.code).strip() == shown[1], block.place


def _run(cluster: Cluster, *command: str) -> str:
    environment = os.environ | {"WINNOW_URL": cluster.url, "WINNOW_API_KEY": cluster.api_key}
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _assert_like(shown: Any, seen: Any, path: str) -> None:
    """Equal, but for rounding, times, and what a page shortens with an ellipsis."""
    if shown == _ELLIPSIS:
        return
    if isinstance(shown, dict):
        assert isinstance(seen, dict), path
        assert shown.keys() == seen.keys(), path
        for key, value in shown.items():
            _assert_like(value, seen[key], f"{path}.{key}")
    elif isinstance(shown, list):
        assert isinstance(seen, list), path
        whole = _ELLIPSIS not in shown
        head = shown if whole else shown[: shown.index(_ELLIPSIS)]
        assert len(seen) == len(head) if whole else len(seen) > len(head), path
        for number, value in enumerate(head):
            _assert_like(value, seen[number], f"{path}[{number}]")
    elif isinstance(shown, float):
        assert seen == pytest.approx(shown, abs=0.01), path
    else:
        assert seen == shown, path


def _without_chance(answer: Any) -> Any:
    """Times differ from run to run, and what a cache held; that they are there does not."""
    if isinstance(answer, list):
        return [_without_chance(one) for one in answer]
    if not isinstance(answer, dict):
        return answer
    kept = {key: _without_chance(value) for key, value in answer.items()}
    if "timings_ms" in kept:
        kept["timings_ms"] = sorted(kept["timings_ms"])
    if "cached_tokens" in kept:
        kept["cached_tokens"] = 0
    return kept
