"""Search, embedding and rerank traffic for Locust, against a running service.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8000 --headless -u 8 -t 30s

Needs WINNOW_API_KEY, and the `wikipedia` collection that `make demo` makes. Speaks HTTP alone.
"""

import os
import random
from typing import Any

from locust import HttpUser, constant, events, task

_COLLECTION = os.environ.get("WINNOW_COLLECTION", "wikipedia")
_SUBJECTS = ("rivers", "composers", "vaccines", "planets", "bridges", "emperors", "enzymes", "jazz")
_QUESTIONS = (
    "What is the history of {subject}?",
    "Which {subject} are the best known?",
    "How do {subject} change over time?",
    "Who first described {subject}?",
)


def _question() -> str:
    return random.choice(_QUESTIONS).format(subject=random.choice(_SUBJECTS))


class Searcher(HttpUser):
    """An application that mostly searches."""

    wait_time = constant(0)

    def on_start(self) -> None:
        self.client.headers["authorization"] = f"Bearer {os.environ['WINNOW_API_KEY']}"
        cards = self.client.get("/v1/models").json()["data"]
        self._models = {card["task"]: card["id"] for card in cards}

    @task(6)
    def search(self) -> None:
        body = {"collection": _COLLECTION, "query": _question(), "top_k": 20, "top_n": 5}
        with self.client.post("/v1/search", json=body, catch_response=True) as response:
            if response.ok and not response.json()["results"]:
                response.failure("no results")

    @task(3)
    def embed(self) -> None:
        body = {"model": self._models["embed"], "input": [_question() for _ in range(8)]}
        self.client.post("/v1/embeddings", json=body | {"encoding_format": "base64"})

    @task(1)
    def rerank(self) -> None:
        documents = [_question() for _ in range(10)]
        self.client.post("/v1/rerank", json={"query": _question(), "documents": documents})


@events.quitting.add_listener  # type: ignore[untyped-decorator] # Locust is not typed
def fail_on_errors(environment: Any, **_: object) -> None:
    """A run with a failed request exits 1."""
    stats = environment.stats
    if stats.total.num_failures:
        environment.process_exit_code = 1
