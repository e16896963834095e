"""`winnow smoke`: one request of each kind to the running service; exit 0 or 1."""

from collections.abc import Callable
from dataclasses import dataclass

import typer
from rich.text import Text

from cluster.client import ApiError, WinnowClient
from cluster.commands.session import ApiKey, Url, open_client, open_console

_COLLECTION = "winnow-smoke"
_QUERY = "How many people live in Berlin?"
_DOCUMENTS = [
    "New York City is famous for the Metropolitan Museum of Art.",
    "Berlin has a population of 3,520,031 registered inhabitants.",
]


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    run: Callable[[WinnowClient], bool]


def smoke(url: Url = None, api_key: ApiKey = None) -> None:
    """Send one request of each kind; exit 1 if any answer is wrong."""
    console = open_console()
    client = open_client(url, api_key)
    failed = 0
    for check in _checks():
        try:
            good, detail = check.run(client), ""
        except (ApiError, KeyError, IndexError) as error:
            good, detail = False, f"  {error}"
        failed += not good
        mark = ("ok  ", "green") if good else ("fail", "red")
        console.print(Text.assemble(mark, f" {check.name}{detail}"))
    if failed:
        raise typer.Exit(1)


def _checks() -> list[_Check]:
    return [
        _Check("readyz", lambda client: bool((client.readiness() or {}).get("ready"))),
        _Check("models", lambda client: len(_models(client)) == 2),
        _Check("embeddings", _embeddings),
        _Check("v2/embed", _v2_embed),
        _Check("rerank", lambda client: _rerank(client, "/v1/rerank")),
        _Check("v2/rerank", lambda client: _rerank(client, "/v2/rerank")),
        _Check("collection, upsert and search", _search),
    ]


def _models(client: WinnowClient) -> dict[str, str]:
    return {card["task"]: card["id"] for card in client.call("GET", "/v1/models")["data"]}


def _embeddings(client: WinnowClient) -> bool:
    body = {"model": _models(client)["embed"], "input": _DOCUMENTS}
    data = client.call("POST", "/v1/embeddings", body)["data"]
    return len(data) == 2 and abs(sum(x * x for x in data[0]["embedding"]) - 1) < 1e-3


def _v2_embed(client: WinnowClient) -> bool:
    body = {"model": _models(client)["embed"], "texts": [_QUERY], "input_type": "search_query"}
    return len(client.call("POST", "/v2/embed", body)["embeddings"]["float"]) == 1


def _rerank(client: WinnowClient, path: str) -> bool:
    body = {"model": _models(client)["rerank"], "query": _QUERY, "documents": _DOCUMENTS}
    results = client.call("POST", path, body)["results"]
    return sorted(result["index"] for result in results) == [0, 1]


def _search(client: WinnowClient) -> bool:
    client.create_collection(_COLLECTION)
    try:
        documents = [{"id": str(i), "text": text} for i, text in enumerate(_DOCUMENTS)]
        client.upsert(_COLLECTION, documents)
        return len(client.search(_COLLECTION, _QUERY, 2, 2)["results"]) == 2
    finally:
        client.delete_collection(_COLLECTION)
