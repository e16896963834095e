"""A real cluster with more to do than it can: nothing is lost, and what nobody waits for is not
done."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
import yaml

from cluster.profile import application
from loadtest.overload.figures import Figures
from loadtest.overload.load import Kind, open_loop
from loadtest.paced import TOKENS_PER_S
from loadtest.run.requests import Requests
from loadtest.run.service import Service
from loadtest.uncached import uncached_profile
from tests.serve.cluster import Cluster, post
from tests.serve.overload.apps import COMPUTED

_MODEL = "all-MiniLM-L6-v2"
_PATIENCE_S = 20.0
# A quarter of a minute's work: 2,000 texts of 30 tokens.
_LARGE = {"model": _MODEL, "input": [f"text {n} of a great many " * 4 for n in range(2_000)]}
_LARGE_TOKENS = 60_000
_SMALL = {"model": _MODEL, "input": "a cat", "deadline_ms": 3_000}
_KIND = Kind("embed", 8, 30)
_DEADLINE_S = 1.0


@pytest.fixture
def paced(any_cluster: Cluster, tmp_path: Path) -> Cluster:
    profile = uncached_profile()
    app = application(profile)
    app["import_path"] = "tests.serve.overload.apps:winnow"
    [router] = [one for one in app["deployments"] if one["name"] == "Router"]
    router["user_config"] = {"plans": {"single": {"concurrent_requests": 1}}}
    file = tmp_path / "paced.yaml"
    file.write_text(yaml.safe_dump(profile))
    return any_cluster.use(str(file))


@pytest.fixture
def single(paced: Cluster) -> Iterator[httpx.Client]:
    """A client of a tenant that may have one request at once."""
    paced.winnow("tenants", "create", "single", "--plan", "single")
    with paced.client(paced.winnow("keys", "create", "single").stdout.strip()) as client:
        yield client


def computed_tokens(cluster: Cluster) -> int:
    [file] = cluster.state.directory.rglob(COMPUTED)
    return int(file.read_text())


def queued_tokens(client: httpx.Client) -> int:
    return int(client.get("/readyz").json()["stages"]["embed"]["queued_tokens"])


def eventually(holds: Callable[[], bool]) -> bool:
    until = time.monotonic() + _PATIENCE_S
    while not holds():
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


def test_who_hangs_up_frees_its_work_and_its_place(paced: Cluster, single: httpx.Client) -> None:
    post(single, "/v1/embeddings", _SMALL)
    before = computed_tokens(paced)

    def abandon() -> None:
        with paced.client(single.headers["authorization"].split()[1]) as impatient:
            impatient.timeout = httpx.Timeout(60, read=3.0)
            with pytest.raises(httpx.ReadTimeout):
                impatient.post("/v1/embeddings", json=_LARGE)

    with ThreadPoolExecutor() as threads, paced.client() as operator:
        abandoned = threads.submit(abandon)
        assert eventually(lambda: queued_tokens(operator) > _LARGE_TOKENS // 2)
        assert single.post("/v1/embeddings", json=_SMALL).status_code == 429
        abandoned.result()
        assert eventually(lambda: queued_tokens(operator) == 0)
    assert eventually(lambda: single.post("/v1/embeddings", json=_SMALL).status_code == 200)
    assert computed_tokens(paced) - before < _LARGE_TOKENS / 2


async def test_at_five_times_the_load_all_are_answered_and_the_queue_is_bounded(
    paced: Cluster,
) -> None:
    with paced.client() as client:
        # So that the stage knows how fast it is.
        post(client, "/v1/embeddings", {"model": _MODEL, "input": ["what is a cat"] * 1_000})
    seen: list[int] = []
    stop = threading.Event()

    def watch() -> None:
        with paced.client() as client:
            while not stop.wait(0.2):
                seen.append(queued_tokens(client))

    rate = 5 * TOKENS_PER_S / (_KIND.items * _KIND.item_tokens)
    service = Service(paced.url, {"a": paced.api_key})
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        trace = _KIND.trace({"a": rate}, 5)
        sending = await open_loop(service, Requests({"embed": _MODEL}, 0), trace, _DEADLINE_S)
    finally:
        stop.set()
        watching.join()
    figures = Figures.of(sending)
    told = Counter(one.answer.status for one in sending.outcomes)
    assert set(told) <= {200, 503, 504}, told
    assert figures.refused > figures.served > 0
    assert figures.without_retry_after == 0
    assert max(seen) <= 2 * _DEADLINE_S * TOKENS_PER_S
