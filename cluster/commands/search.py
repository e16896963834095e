"""`winnow search`: search a collection and show the results as a table."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.commands.session import ApiKey, Url, open_client, open_console

_CANDIDATES = 50
_SNIPPET_CHARACTERS = 1_000  # more than a line of any terminal


def search(
    collection: str,
    query: str,
    top_k: Annotated[
        int | None, typer.Option(help=f"Candidates to rerank; {_CANDIDATES}, or TOP_N if more.")
    ] = None,
    top_n: Annotated[int, typer.Option(help="Results to show.")] = 5,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Search COLLECTION for QUERY."""
    candidates = max(_CANDIDATES, top_n) if top_k is None else top_k
    answer = open_client(url, api_key).search(collection, query, candidates, top_n)
    show_results(open_console(), query, answer)


def show_results(console: Console, query: str, answer: dict[str, Any]) -> None:
    """Print two lines for each result, title and snippet, and the milliseconds of each stage."""
    table = Table(title=query, title_justify="left", box=None, expand=True)
    for name in ("rank", "relevance", "retrieval"):
        table.add_column(name, justify="right")
    table.add_column("title and snippet", ratio=1, no_wrap=True, overflow="ellipsis")
    for rank, result in enumerate(answer["results"], 1):
        relevance = result["relevance_score"]
        table.add_row(
            str(rank),
            "" if relevance is None else f"{relevance:.4f}",
            f"{result['retrieval_score']:.4f}",
            f"{result['metadata'].get('title', result['id'])}\n{_snippet(result['text'])}",
        )
    console.print(table)
    stages = ", ".join(f"{name} {ms:.0f}" for name, ms in answer["timings_ms"].items())
    console.print(f"{answer['usage']['candidates']} candidates: {stages} ms\n")


def _snippet(text: str) -> str:
    return " ".join(text[:_SNIPPET_CHARACTERS].split())
