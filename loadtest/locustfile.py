"""A scenario's traffic for Locust, for those who want its web page; the service must be running.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000 --headless -u 8 -t 30s

Needs WINNOW_API_KEY; its tenant gets a collection for the searches, deleted at the end.
WINNOW_SCENARIO names another scenario than `steady`. This is a closed loop: each user sends its
next request when the last one is answered, so the service sets the rate and its queue stays hidden.
`python -m loadtest.run` is the open loop, which shows the queue. Knows only the HTTP API.
"""

import itertools
import os
import time
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, ClassVar

from locust import HttpUser, constant, events, task

from cluster.client import WinnowClient
from loadtest.run.open_loop import Request
from loadtest.run.requests import Requests
from loadtest.run.scenario import load_scenario
from loadtest.run.service import Service, filled, served_models
from loadtest.traffic import generate


class Client(HttpUser):
    """A user that sends the trace's requests one after another."""

    wait_time = constant(0)
    requests: ClassVar[Iterator[Request]]
    undo: ClassVar[ExitStack]

    def on_start(self) -> None:
        self.client.headers["authorization"] = f"Bearer {os.environ['WINNOW_API_KEY']}"
        self.client.headers["content-type"] = "application/json"

    @task
    def send(self) -> None:
        request = next(self.requests)
        name = request.route  # by path, each collection would have a row of its own
        self.client.post(request.path, data=request.body, name=name)


@events.test_start.add_listener  # type: ignore[untyped-decorator] # Locust is not typed
def prepare(environment: Any, **_: object) -> None:
    """Fill the collection, and start the endless sequence of requests."""
    scenario = load_scenario(os.environ.get("WINNOW_SCENARIO", "steady"))
    trace = generate(scenario.traffic, scenario.seed)
    service = Service(environment.host, dict.fromkeys(trace.names, os.environ["WINNOW_API_KEY"]))
    first = time.time_ns() // 1000
    models = served_models(WinnowClient(service.url, os.environ["WINNOW_API_KEY"]))
    requests = Requests(models, first, collection=f"loadtest-{first}")
    Client.undo = ExitStack()
    Client.undo.enter_context(filled(service, requests, trace, scenario.documents))
    endless = (requests.of(trace) for _ in itertools.count())
    Client.requests = itertools.chain.from_iterable(endless)


@events.test_stop.add_listener  # type: ignore[untyped-decorator] # Locust is not typed
def clean_up(**_: object) -> None:
    Client.undo.close()


@events.quitting.add_listener  # type: ignore[untyped-decorator] # Locust is not typed
def fail_on_errors(environment: Any, **_: object) -> None:
    """Exit 1 if any request failed."""
    stats = environment.stats
    if stats.total.num_failures:
        environment.process_exit_code = 1
