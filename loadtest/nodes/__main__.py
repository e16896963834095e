"""`python -m loadtest.nodes`: load on one model stage, then on the other, as nodes come and go.

Shows that Ray's autoscaler sizes each stage's nodes on its own. Takes about four minutes and writes
loadtest/results/nodes.*.
"""

import asyncio
import json
import sys
import tempfile
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from loadtest.bench import machine
from loadtest.nodes.cluster import MOST, AutoscaledCluster
from loadtest.nodes.play import Step, play
from loadtest.nodes.report import as_document, plot

_LOW, _HIGH = 0.2, 1.5
_PATIENCE_S = 120.0


def steps(after_s: float) -> list[Step]:
    """Return four steps: little load, embeddings, reranks, little load."""
    return [
        Step({"embed": _LOW, "rerank": _LOW}, {"embed": 1, "rerank": 1}, after_s),
        Step({"embed": _HIGH, "rerank": _LOW}, {"embed": MOST, "rerank": 1}, after_s),
        Step({"embed": _LOW, "rerank": _HIGH}, {"embed": 1, "rerank": MOST}, after_s),
        Step({"embed": _LOW, "rerank": _LOW}, {"embed": 1, "rerank": 1}, after_s),
    ]


def nodes(
    after_s: Annotated[float, typer.Option(help="How long a size is watched once reached.")] = 25,
    output: Annotated[Path, typer.Option()] = Path("loadtest/results/nodes"),
) -> None:
    """Run the steps and write OUTPUT.json and OUTPUT.svg."""
    with tempfile.TemporaryDirectory(prefix="w-nodes-", dir="/tmp") as directory:
        cluster = AutoscaledCluster(Path(directory))
        try:
            cluster.up()
            recording = asyncio.run(play(cluster, steps(after_s), _PATIENCE_S))
        finally:
            cluster.down()
    document = {
        "command": " ".join(["python -m loadtest.nodes", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
    } | as_document(recording)
    output.with_suffix(".json").write_text(json.dumps(document) + "\n")
    plot(document, output.with_suffix(".svg"))


if __name__ == "__main__":
    typer.run(nodes)
