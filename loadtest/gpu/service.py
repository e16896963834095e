"""The step that measures the whole service: the profile over the models made here, over HTTP.

Its load comes from processes of their own.
"""

import os
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import psutil

from cluster import haproxy
from cluster.profile import application, load_profile
from cluster.stages import MODEL_STAGES
from loadtest.gpu.client import Load, drive
from loadtest.gpu.device import gpu, taken_gib
from loadtest.gpu.emitter import Emitter, Figures
from loadtest.gpu.figures import EMBEDDINGS, SEARCHES
from loadtest.gpu.settings import DOCUMENT_TOKENS, TEXT_TOKENS, Settings
from loadtest.local_cluster import LocalCluster
from loadtest.run.requests import Requests
from loadtest.run.service import fill, served_models
from loadtest.traffic import Route

_ROUTER = "Router"
_DEPLOYMENTS = (_ROUTER, "Embedder", "Index", "Reranker")
_TEXTS = 32
# Of clients and documents: texts are told apart by where their numbers start.
_APART = 10**9
_MOST_CLIENTS = 4
# `Requests` counts BERT's two special tokens in a text, and Qwen3 has one.
_SPECIAL = 1


async def measure_service(settings: Settings, emitter: Emitter) -> None:
    """Start it, measure embeddings and searches, and stop it.

    Blocks: nothing else runs here, and the end of the step's time ends what is waited for, too.
    """
    _provide_programs(settings.work / "bin")
    cluster = LocalCluster(settings.work / "state", _profile(settings))
    at_once = 4 if settings.tiny else 32

    async def embeddings() -> Figures:
        return _drive(cluster, _loads(settings, cluster, "embed", _TEXTS, at_once), _TEXTS)

    async def searches() -> Figures:
        loads = _loads(settings, cluster, "search", settings.candidates, at_once // 2)
        return _drive(cluster, loads, settings.candidates)

    try:
        emitter.emit("start of the service", _start(cluster))
        requests = Requests(served_models(cluster.client()), 0)
        fill(cluster.client(), requests, [DOCUMENT_TOKENS + 2] * (2 * settings.candidates))
        await emitter.attempt(EMBEDDINGS, embeddings)
        await emitter.attempt(SEARCHES, searches)
    finally:
        cluster.down()


def _provide_programs(directory: Path) -> None:
    """Put Ray's and our own programs on PATH, for a machine on which packages only lie."""
    directory.mkdir()
    for name, module in (("ray", "ray.scripts.scripts"), (haproxy.PROGRAM, "cluster.haproxy")):
        program = directory / name
        program.write_text(f"#!{sys.executable}\nfrom {module} import main\nmain()\n")
        program.chmod(0o755)
    os.environ["PATH"] += os.pathsep + str(directory)


def _profile(settings: Settings) -> dict[str, Any]:
    profile = load_profile(settings.profile)
    args = application(profile)["args"]
    for stage, names in MODEL_STAGES.items():
        args[names.field] = settings.stage(stage)
    args["router"]["embed_cache"] = {"max_bytes": 0}
    return profile


def _start(cluster: LocalCluster) -> Figures:
    """Start it; return the time, and the memory of the GPU and of each deployment's processes."""
    before, began_s = gpu(), time.monotonic()
    cluster.up()
    figures: Figures = {"start_s": time.monotonic() - began_s} | taken_gib(before)
    for name in _DEPLOYMENTS:
        replicas = [psutil.Process(pid) for pid in cluster.replicas(name)]
        family = [*replicas, *(child for one in replicas for child in one.children(recursive=True))]
        resident: list[int] = [one.memory_info().rss for one in family]
        figures[f"{name}_gib"] = sum(resident) / 2**30
    return figures


def _loads(
    settings: Settings, cluster: LocalCluster, route: Route, items: int, at_once: int
) -> list[Load]:
    """Share the requests under way among client processes."""
    clients = max(1, min(_MOST_CLIENTS, (os.cpu_count() or 1) // 4))
    models = served_models(cluster.client())
    return [
        Load(
            url=cluster.running.url,
            key=cluster.state.api_key(),
            models=models,
            route=route,
            items=items,
            item_tokens=TEXT_TOKENS + _SPECIAL,
            at_once=max(1, at_once // clients),
            seconds=2 * settings.seconds,
            first=(number + 1) * _APART,
        )
        for number in range(clients)
    ]


def _drive(cluster: LocalCluster, loads: list[Load], rows: int) -> Figures:
    """Send the loads; each request has so many rows."""
    before_s = _router_s(cluster)
    # Not forked from a process that has threads.
    with ProcessPoolExecutor(len(loads), get_context("spawn")) as pool:
        served = list(pool.map(drive, loads))
    router_s = _router_s(cluster) - before_s
    requests_per_s = sum(one.requests_per_s for one in served)
    return {
        "rows": rows,
        "rows_per_s": requests_per_s * rows,
        "requests_per_s": requests_per_s,
        "p50_ms": max(one.p50_ms for one in served),
        "p99_ms": max(one.p99_ms for one in served),
        "failed": sum(one.failed for one in served),
        "problem": next((one.problem for one in served if one.problem), ""),
        "router_ms_a_request": 1000 * router_s / sum(one.sent for one in served),
        "client_cores": sum(one.cores for one in served),
    }


def _router_s(cluster: LocalCluster) -> float:
    """CPU time of the Routers."""
    times = [psutil.Process(pid).cpu_times() for pid in cluster.replicas(_ROUTER)]
    return float(sum(one.user + one.system for one in times))
