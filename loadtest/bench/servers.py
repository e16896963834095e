"""The servers under test: how each is started with its best settings, reached and stopped.

Each runs in a process group of its own and alone on the machine. Knows no load.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from loadtest.bench import machine
from loadtest.bench.workloads import COLLECTION, Kind
from loadtest.command_line import winnow

_PATIENCE_S = 300
_STOP_S = 30


@dataclass(frozen=True, slots=True)
class Models:
    """Directories of the models, which every server loads, and the file of documents to search."""

    embed: Path
    rerank: Path
    documents: Path

    def of(self, kind: Kind) -> Path:
        """Return the model that names a request of this kind and counts its tokens."""
        return self.rerank if kind == "rerank" else self.embed


@dataclass(frozen=True, slots=True)
class Endpoint:
    """The base URL and the path of a route, the model's name in its bodies, and the API key."""

    base: str
    path: str
    model: str
    key: str = "none"

    @property
    def url(self) -> str:
        return self.base + self.path

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}


class Winnow:
    """This project, as `winnow up` starts it."""

    name = "winnow"
    kinds: tuple[Kind, ...] = ("embed", "rerank", "search")

    def __init__(self, port: int, state: Path, profile: str) -> None:
        self._port, self._state, self._profile = port, state, profile

    @contextlib.contextmanager
    def serving(self, kind: Kind, models: Models) -> Iterator[Endpoint]:
        # The embedding cache lies there, and would answer the texts of the round before.
        shutil.rmtree(self._state, ignore_errors=True)
        up = ("up", "--profile", self._profile, "--port", str(self._port))
        winnow(self._state, *up, quiet=True)
        try:
            key = (self._state / "api_key").read_text().strip()
            if kind == "search":
                winnow(self._state, "ingest", COLLECTION, str(models.documents), quiet=True)
            base = f"http://127.0.0.1:{self._port}"
            yield Endpoint(base, _path(kind), models.of(kind).name, key)
        finally:
            winnow(self._state, "down", quiet=True)


class Vllm:
    """vLLM's own server: a process for HTTP and one for the engine, bound to every core.

    By default it keeps one core for the front end, which on few cores halves the engine. With
    `copies` it has that many engines, its own data-parallel ones, of an equal part of the cores.
    """

    kinds: tuple[Kind, ...] = ("embed", "rerank")

    def __init__(self, port: int, logs: Path, copies: int = 1) -> None:
        self._port, self._logs, self._copies = port, logs, copies
        self.name = "vllm serve" if copies == 1 else f"vllm serve, {copies} engines"

    @contextlib.contextmanager
    def serving(self, kind: Kind, models: Models) -> Iterator[Endpoint]:
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server"]
        command += ["--model", str(models.of(kind)), "--served-model-name", "model"]
        command += ["--port", str(self._port), "--host", "127.0.0.1", "--runner", "pooling"]
        command += ["--dtype", machine.dtype(), "--enforce-eager", "--max-num-seqs", "256"]
        command += ["--max-num-batched-tokens", "8192", "--gpu-memory-utilization", "0.3"]
        command += ["--kv-cache-memory-bytes", str(2**28), "--no-enable-log-requests"]
        command += ["--disable-log-stats", "--uvicorn-log-level", "warning"]
        if kind == "embed":
            command += ["--convert", "embed", "--max-model-len", "256"]
        if self._copies > 1:
            command += ["--data-parallel-size", str(self._copies)]
        share = (os.cpu_count() or 1) // self._copies
        firsts = [number * share for number in range(self._copies)]
        bound = "|".join(f"{first}-{first + share - 1}" for first in firsts)
        environment = {"VLLM_CPU_OMP_THREADS_BIND": bound, "VLLM_NO_USAGE_STATS": "1"}
        with _process(command, environment, self._logs / f"vllm-{kind}-{self._copies}.log"):
            wait(f"http://127.0.0.1:{self._port}/health")
            yield Endpoint(f"http://127.0.0.1:{self._port}", _path(kind), "model")


class Infinity:
    """michaelfeil/infinity with its torch engine, in an environment of its own."""

    name = "infinity"
    kinds: tuple[Kind, ...] = ("embed", "rerank")

    def __init__(self, port: int, logs: Path, environment: Path) -> None:
        self._port, self._logs, self._bin = port, logs, environment / "bin"

    @contextlib.contextmanager
    def serving(self, kind: Kind, models: Models) -> Iterator[Endpoint]:
        command = [str(self._bin / "infinity_emb"), "v2", "--model-id", str(models.of(kind))]
        command += ["--served-model-name", "model", "--engine", "torch", "--device", "cpu"]
        command += ["--dtype", machine.dtype(), "--batch-size", "64", "--port", str(self._port)]
        command += ["--host", "127.0.0.1", "--no-bettertransformer", "--log-level", "warning"]
        environment = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
        path = "/embeddings" if kind == "embed" else "/rerank"
        with _process(command, environment, self._logs / f"infinity-{kind}.log"):
            wait(f"http://127.0.0.1:{self._port}/health")
            yield Endpoint(f"http://127.0.0.1:{self._port}", path, "model")


class Plain:
    """FastAPI in front of sentence-transformers, in an environment of its own."""

    name = "fastapi + sentence-transformers"
    kinds: tuple[Kind, ...] = ("embed", "rerank", "search")

    def __init__(self, port: int, logs: Path, environment: Path) -> None:
        self._port, self._logs, self._bin = port, logs, environment / "bin"

    @contextlib.contextmanager
    def serving(self, kind: Kind, models: Models) -> Iterator[Endpoint]:
        command = [str(self._bin / "python"), str(Path(__file__).parent / "plain_server.py")]
        command += [kind, "--port", str(self._port), "--documents", str(models.documents)]
        command += ["--embedder", str(models.embed), "--reranker", str(models.rerank)]
        command += ["--threads", str(os.cpu_count() or 1), "--dtype", machine.dtype()]
        with _process(command, {"HF_HUB_OFFLINE": "1"}, self._logs / f"plain-{kind}.log"):
            wait(f"http://127.0.0.1:{self._port}/docs")
            yield Endpoint(f"http://127.0.0.1:{self._port}", _path(kind), "model")


Server = Winnow | Vllm | Infinity | Plain


def _path(kind: Kind) -> str:
    return {"embed": "/v1/embeddings", "rerank": "/v1/rerank", "search": "/v1/search"}[kind]


@contextlib.contextmanager
def _process(command: list[str], environment: dict[str, str], log: Path) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            env=os.environ | environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(_STOP_S)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def wait(url: str) -> None:
    """Wait until the URL answers 200. Raises TimeoutError."""
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until:
        with contextlib.suppress(httpx.TransportError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return
        time.sleep(0.5)
    raise TimeoutError(f"{url} did not answer within {_PATIENCE_S} s")
