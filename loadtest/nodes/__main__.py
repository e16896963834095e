"""`python -m loadtest.nodes`: load on one stage, then on the other; Ray's autoscaler adds and
removes nodes for each on its own. Takes about four minutes and writes loadtest/results/nodes.*.
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
from loadtest.nodes.play import Step, play
from loadtest.nodes.report import as_document, plot
from loadtest.nodes.stand import MOST, Stand, profile

_LOW, _HIGH = 0.2, 1.5
_PATIENCE_S = 120.0


def steps(after_s: float) -> list[Step]:
    """Nothing much, embeddings, reranks, nothing much."""
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
    """Play it and write OUTPUT.json and OUTPUT.svg."""
    with tempfile.TemporaryDirectory(prefix="w-nodes-", dir="/tmp") as directory:
        stand = Stand(Path(directory))
        try:
            stand.up(profile())
            recording = asyncio.run(play(stand, steps(after_s), _PATIENCE_S))
        finally:
            stand.down()
    document = {
        "command": " ".join(["python -m loadtest.nodes", *sys.argv[1:]]),
        "date": date.today().isoformat(),
        "processor": machine.processor(),
    } | as_document(recording)
    output.with_suffix(".json").write_text(json.dumps(document) + "\n")
    plot(document, output.with_suffix(".svg"))


if __name__ == "__main__":
    typer.run(nodes)
