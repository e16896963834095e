"""`winnow demo`: ingest a corpus, run three searches, and say what to do next."""

from pathlib import Path
from typing import Annotated

import typer

from cluster.commands.ingest import ingest_file
from cluster.commands.search import show_results
from cluster.commands.session import open_client, open_console, open_state, running_cluster
from cluster.models.pull import default_cache, resolve

COLLECTION = "wikipedia"
_CORPUS = "wikipedia-summaries-en"
_RESULTS = 3
_QUERIES = [
    "How do vaccines protect people from disease?",
    "Which animal is the fastest runner on land?",
    "Who composed concertos about spring, summer, autumn and winter?",
]


def demo(
    documents: Annotated[int, typer.Option(help="How many summaries to ingest.")] = 2_500,
) -> None:
    """Ingest Wikipedia summaries into the cluster here and search them."""
    console = open_console()
    state = open_state()
    cluster = running_cluster(state)
    client = open_client()
    [corpus] = Path(resolve(_CORPUS, default_cache(), console)).glob("*.jsonl")
    client.create_collection(COLLECTION)
    ingest_file(console, client, COLLECTION, corpus, documents)
    console.print()
    for query in _QUERIES:
        show_results(console, query, client.search(COLLECTION, query, top_k=30, top_n=_RESULTS))
    console.print(f"URL      {cluster.url}")
    console.print(f"API      {cluster.url}/docs")
    console.print(f"Page     {cluster.url}/ui")
    console.print(f"API key  {state.api_key()}")
    console.print("Ask      .venv/bin/winnow search wikipedia 'your question'")
    console.print("Stop     make down")
