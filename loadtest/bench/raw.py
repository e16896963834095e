"""One raw engine: vLLM in this process, no server. Started by `engine_limit`, which knows why.

    python -m loadtest.bench.raw embed MODEL TEXTS THREADS

TEXTS has a body a line. Prints a line when it is ready. Then, for each batch size that it reads
from standard input, calls `LLM.embed` or `LLM.score` for all rows in batches of that size, and
prints the number of rows.
"""

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loadtest.bench import machine

_WARM_UP_ROWS = 32


@dataclass(frozen=True, slots=True)
class Batch:
    """Texts to embed, or documents to score for a query."""

    texts: list[str]
    query: str | None

    def compute(self, llm: Any) -> None:
        if self.query is None:
            llm.embed(self.texts, use_tqdm=False)
        else:
            llm.score(self.query, self.texts, use_tqdm=False)


def main() -> None:
    kind, model, file, threads = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
    bodies = [json.loads(line) for line in file.read_text().splitlines()]
    llm = _load(kind, model, threads)
    _batches(bodies, _WARM_UP_ROWS)[0].compute(llm)
    _say("ready")
    for line in sys.stdin:
        batches = _batches(bodies, int(line))
        for batch in batches:
            batch.compute(llm)
        _say(str(sum(len(batch.texts) for batch in batches)))


def _load(kind: str, model: str, threads: int) -> Any:
    os.environ |= {
        "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
        "VLLM_LOGGING_LEVEL": "ERROR",
        "VLLM_NO_USAGE_STATS": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    import torch
    from vllm import LLM

    torch.set_num_threads(threads)
    options: dict[str, Any] = {"convert": "embed", "max_model_len": 256} if kind == "embed" else {}
    return LLM(
        model,
        runner="pooling",
        dtype=machine.dtype(),
        enforce_eager=True,
        kv_cache_memory_bytes=2**28,
        gpu_memory_utilization=0.3,
        max_num_batched_tokens=8192,
        max_num_seqs=256,
        **options,
    )


def _batches(bodies: list[dict[str, Any]], size: int) -> list[Batch]:
    """Cut the bodies' texts, and each body's documents, into batches of `size` rows."""
    if "input" in bodies[0]:
        wholes = [Batch([text for body in bodies for text in body["input"]], None)]
    else:
        wholes = [Batch(body["documents"], body["query"]) for body in bodies]
    return [
        Batch(whole.texts[first : first + size], whole.query)
        for whole in wholes
        for first in range(0, len(whole.texts), size)
    ]


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
