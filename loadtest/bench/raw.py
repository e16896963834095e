"""The upper bound of one engine: vLLM in this process, all texts at once, no server.

    python -m loadtest.bench.raw embed MODEL TEXTS

Prints the texts/s of `LLM.embed` or the pairs/s of `LLM.score` as JSON; TEXTS has a body a line.
"""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from loadtest.bench import machine

_REPEATS = 3


def main() -> None:
    kind, model, file = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    bodies = [json.loads(line) for line in file.read_text().splitlines()]
    threads = os.cpu_count() or 1
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
    llm = LLM(
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
    best = 0.0
    for _ in range(_REPEATS):
        began = time.perf_counter()
        rows = _embed(llm, bodies) if kind == "embed" else _score(llm, bodies)
        best = max(best, rows / (time.perf_counter() - began))
    sys.stdout.write(json.dumps({"rows_per_s": best}) + "\n")


def _embed(llm: Any, bodies: list[dict[str, Any]]) -> int:
    texts = [text for body in bodies for text in body["input"]]
    llm.embed(texts, use_tqdm=False)
    return len(texts)


def _score(llm: Any, bodies: list[dict[str, Any]]) -> int:
    for body in bodies:
        llm.score(body["query"], body["documents"], use_tqdm=False)
    return sum(len(body["documents"]) for body in bodies)


if __name__ == "__main__":
    main()
