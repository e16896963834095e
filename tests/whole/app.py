"""The whole application in one process: the real Router, stage clients, tokenizers, Embedder,
Reranker and Index over LanceDB, without Ray between them and with engines that need no weights.

Served by uvicorn in a thread, as Serve does it in a replica.
"""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import httpx
import uvicorn
from ray.serve.handle import DeploymentHandle

from cluster.config import AppConfig
from cluster.local.ports import free_ports
from cluster.profile import application, load_profile
from deployments.embedder import Embedder
from deployments.index import Index
from deployments.reranker import Reranker
from deployments.router import Router
from deployments.tenants.api_keys import new_key, write_keys
from deployments.text.tokenizer_files import load_tokenizer
from tests.models import model_directory
from tests.whole.engine import HashingEngine

DIMENSIONS = 8
TENANTS = ("alice", "bob")


class WholeApp:
    """The service of `directory`, with a key for each tenant."""

    def __init__(self, directory: Path) -> None:
        issued = {tenant: new_key(tenant) for tenant in TENANTS}
        self.keys = {tenant: key for tenant, (key, _) in issued.items()}
        write_keys(directory / "keys.json", [record for _, record in issued.values()])
        config = config_in(directory)
        self.embed_model = config.embedder.name
        self.rerank_model = config.reranker.name
        embedder, reranker = object.__new__(Embedder), object.__new__(Reranker)
        self.engine = engine = HashingEngine(DIMENSIONS)
        self._tokenizer = load_tokenizer(Path(config.embedder.engine.model))
        embedder.attach("embed", config.embedder, "fingerprint", engine, lambda one: one.embed)
        reranker.attach("rerank", config.reranker, "fingerprint", engine, lambda one: one.score)
        self._index = Index(config.index)
        # The class as it is written, below what Serve makes of it for its replicas.
        [plain, *_] = Router.__bases__
        self._router: Any = object.__new__(plain)
        handles = [handle(one) for one in (embedder, self._index, reranker)]
        self._router.__init__(config.router, config.embedder, config.reranker, *handles)

    def token(self, word: str) -> int:
        """The first id of a word, to the embedder and the reranker, whose vocabulary is one."""
        [id, *_] = self._tokenizer.encode(word, add_special_tokens=False).ids
        return int(id)

    def client(self, url: str, tenant: str) -> httpx.Client:
        headers = {"authorization": f"Bearer {self.keys[tenant]}"}
        return httpx.Client(base_url=url, headers=headers, timeout=60, trust_env=False)

    @contextlib.contextmanager
    def served(self) -> Iterator[str]:
        """Its URL."""
        [port] = free_ports(1)
        server = uvicorn.Server(uvicorn.Config("", port=port, log_level="critical", lifespan="on"))
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(server)))
        thread.start()
        try:
            _wait_for(f"http://127.0.0.1:{port}/healthz")
            yield f"http://127.0.0.1:{port}"
        finally:
            server.should_exit = True
            thread.join(timeout=20)

    async def _serve(self, server: uvicorn.Server) -> None:
        server.config.app = await self._router.__serve_build_asgi_app__()
        await server.serve()


class _Handle:
    """A DeploymentHandle that calls an object of this process; a Task can be awaited and cancelled
    as a response of Serve's can."""

    def __init__(self, target: Any) -> None:
        self.deployment_name = type(target).__name__
        self._target = target
        self.deployment_name = type(target).__name__

    def __getattr__(self, method: str) -> Any:
        return _Remote(getattr(self._target, method))

    def broadcast(self, method: str) -> "_Broadcast":
        return _Broadcast(getattr(self._target, method))


class _Remote:
    def __init__(self, method: Any) -> None:
        self._method = method

    def remote(self, *arguments: Any) -> "asyncio.Task[Any]":
        return asyncio.create_task(self._method(*arguments))


class _Broadcast:
    """The answer of the one replica that there is."""

    def __init__(self, method: Any) -> None:
        self._method = method

    async def results_async(self, timeout_s: float, return_exceptions: bool) -> list[Any]:  # noqa: ARG002
        return [await self._method()]


def handle(target: Any) -> DeploymentHandle[Any]:
    """Handle that calls `target` in place of a deployment."""
    return cast(DeploymentHandle[Any], _Handle(target))


def config_in(directory: Path) -> AppConfig:
    """The local profile's, with all it stores in `directory` and vectors of DIMENSIONS."""
    args = application(load_profile("local"))["args"]
    for stage in ("embedder", "reranker"):
        args[stage]["engine"]["model"] = str(model_directory(args[stage]["name"]))
    args["embedder"]["dimensions"] = DIMENSIONS
    args["router"]["keys_file"] = str(directory / "keys.json")
    args["router"]["control"]["directory"] = str(directory / "control")
    args["router"]["embed_cache"]["directory"] = str(directory / "embed_cache")
    args["index"]["directory"] = str(directory / "index")
    return AppConfig.model_validate(args)


def _wait_for(url: str) -> None:
    transport = httpx.HTTPTransport(retries=8)
    with httpx.Client(transport=transport, trust_env=False) as client:
        assert client.get(url).status_code == 200
