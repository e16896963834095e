"""The GPU's load test, rehearsed on a CPU with tiny models: real engines, real transformers."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.models import model_directory

_STEPS = ("embed", "rerank")


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("gpu") / "results" / "gpu"
    tokenizer = str(model_directory("tiny-qwen3-reranker"))
    command = [sys.executable, "-m", "loadtest.gpu", "--tiny", "--tokenizer", tokenizer]
    command += ["--output", str(output), *(part for one in _STEPS for part in ("--only", one))]
    done = subprocess.run(command, capture_output=True, text=True, timeout=400, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return output


@pytest.fixture
def document(made: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(made.with_suffix(".json").read_text())
    return found


@pytest.fixture
def rows(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {row["name"]: row for step in document["steps"] for row in step["rows"]}


def test_every_step_is_done(document: dict[str, Any]) -> None:
    assert {one["step"]: one["status"] for one in document["steps"]} == dict.fromkeys(
        ("models", *_STEPS), "done"
    )


def test_the_engines_compute_what_transformers_does(rows: dict[str, dict[str, Any]]) -> None:
    vectors, scores = rows["vectors"], rows["scores"]
    assert vectors["correct"]
    assert vectors["cosine"] >= 0.999 > vectors["cosine_of_different_texts"]
    assert scores["correct"]
    assert scores["score_apart"] < 0.02 < scores["score_apart_of_different_texts"]


def test_every_measurement_has_its_rate_and_no_limit_of_an_unknown_device(
    rows: dict[str, dict[str, Any]],
) -> None:
    rates = {name: row for name, row in rows.items() if "tokens_per_s" in row}
    assert list(rates) == [
        *("texts of 32 tokens", "texts of 128 tokens", "texts of 128 tokens, batches of 256"),
        *("reranks of 10, prefix cache on", "reranks of 10, prefix cache off"),
    ]
    for row in rates.values():
        assert row["tokens_per_s"] > row["rows_per_s"] > 0
        assert row["tflop_per_s"] > 0
    assert rows["reranks of 10, prefix cache on"]["cached"] > 0.3
    assert rows["reranks of 10, prefix cache off"]["cached"] == 0


def test_a_table_and_a_plot_are_there(made: Path, rows: dict[str, dict[str, Any]]) -> None:
    table = made.with_suffix(".md").read_text()
    assert all(f"| {name} |" in table for name in rows)
    assert made.with_suffix(".svg").read_text().count("texts of 128 tokens") >= 1
