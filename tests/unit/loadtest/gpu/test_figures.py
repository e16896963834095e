"""Figures derived from several measurements, and the report of them."""

from pathlib import Path
from typing import Any

import pytest

from loadtest.gpu.budget import Record
from loadtest.gpu.figures import EMBEDDINGS, SEARCHES, derived
from loadtest.gpu.report import document, plot, write
from loadtest.gpu.settings import Settings

_ROWS: list[dict[str, Any]] = [
    {"name": "start of embedder", "start_s": 12.5},
    {"name": "texts of 128 tokens", "rows_per_s": 2_000.0},
    {"name": "reranks of 100, prefix cache on", "rows_per_s": 1_000.0},
    {"name": EMBEDDINGS, "rows_per_s": 1_500.0},
    {"name": SEARCHES, "rows_per_s": 900.0},
    {"name": "fp8", "error": "RuntimeError: no such\nkernel"},
]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(work=tmp_path, tokenizer=tmp_path, tiny=False, eager=False, seconds=1)


def _records(rows: list[dict[str, Any]]) -> list[Record]:
    return [Record("all", "done", "", 1.0, rows)]


def test_the_service_against_its_engines_and_a_plans_figures(settings: Settings) -> None:
    found = derived(_records(_ROWS), settings, "H100")
    assert found["service_of_engine"] == {EMBEDDINGS: 0.75, SEARCHES: 0.9}
    embed = {"model": "Qwen3-Embedding-0.6B", "gpu": "H100", "tokens_per_s": 256_000}
    rerank = {"model": "Qwen3-Reranker-0.6B", "gpu": "H100", "tokens_per_s": 112_000}
    assert found["plan"] == {"embed": embed, "rerank": rerank}


def test_what_was_not_measured_is_left_out(settings: Settings) -> None:
    found = derived(_records(_ROWS[:2]), settings, "H100")
    assert found["service_of_engine"] == {}
    assert list(found["plan"]) == ["embed"]
    assert derived(_records(_ROWS), settings, None)["plan"] == {}


def test_a_report_is_written_of_whatever_there_is(tmp_path: Path) -> None:
    skipped = Record("fp8", "skipped", "takes about 45 s, and 3 s are left", 0.0, [])
    made = document({"peak_tflop_per_s": None}, [*_records(_ROWS), skipped], {"plan": {}})
    write(made, tmp_path / "gpu")
    plot(made, tmp_path / "gpu.svg")
    page = (tmp_path / "gpu.md").read_text()
    assert "| texts of 128 tokens | 2,000 |" in page
    assert "RuntimeError: no such kernel" in page
    assert "fp8: skipped in 0 s, takes about 45 s, and 3 s are left" in page
    assert "limit is left out" in page
