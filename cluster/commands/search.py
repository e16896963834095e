"""`winnow search`: ask a collection and show the results as a table."""

from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from cluster.commands.session import open_client, open_console, open_state

_SNIPPET_CHARACTERS = 110


def search(
    collection: str,
    query: str,
    top_k: Annotated[int, typer.Option(help="Candidates to rerank.")] = 50,
    top_n: Annotated[int, typer.Option(help="Results to show.")] = 5,
) -> None:
    """Search COLLECTION for QUERY."""
    answer = open_client(open_state()).search(collection, query, top_k, top_n)
    show_results(open_console(), query, answer)


def show_results(console: Console, query: str, answer: dict[str, Any]) -> None:
    """Rank, relevance, retrieval score, title and snippet, and the milliseconds of each stage."""
    table = Table(title=query, title_justify="left", expand=True)
    table.add_column("rank", justify="right")
    table.add_column("relevance", justify="right")
    table.add_column("retrieval", justify="right")
    table.add_column("title", ratio=1)
    table.add_column("snippet", ratio=3)
    for rank, result in enumerate(answer["results"], 1):
        relevance = result["relevance_score"]
        table.add_row(
            str(rank),
            "" if relevance is None else f"{relevance:.4f}",
            f"{result['retrieval_score']:.4f}",
            str(result["metadata"].get("title", result["id"])),
            _snippet(result["text"]),
        )
    console.print(table)
    stages = "  ".join(f"{name} {ms:.1f} ms" for name, ms in answer["timings_ms"].items())
    console.print(f"{answer['usage']['candidates']} candidates   {stages}\n")


def _snippet(text: str) -> str:
    line = " ".join(text.split())
    if len(line) <= _SNIPPET_CHARACTERS:
        return line
    return line[:_SNIPPET_CHARACTERS].rsplit(" ", 1)[0] + "…"
