"""A trace as text."""

from loadtest.traces.drawing import draw
from loadtest.traces.receiver import ReceivedSpan


def _span(name: str, id: str, parent: str, began_ms: int, ended_ms: int) -> ReceivedSpan:
    began_ns, ended_ns = began_ms * 1_000_000, ended_ms * 1_000_000
    return ReceivedSpan(name, "t", id, parent, began_ns, ended_ns, False, {"winnow.rows": 3}, {})


def test_children_are_below_their_parents_and_bars_where_they_ran() -> None:
    spans = [
        _span("search", "1", "of the client", 0, 40),
        _span("embed", "2", "1", 0, 10),
        _span("rerank", "3", "1", 10, 40),
        _span("batch", "4", "3", 20, 40),
    ]
    [_, search, embed, rerank, batch] = draw(spans).splitlines()
    assert search.split()[:3] == ["search", "0.00", "40.00"]
    assert search.count("█") == 40
    assert embed.startswith("  embed ")
    assert embed.count("█") == 10
    assert rerank.count("█") == 30
    assert batch.startswith("    batch ")
    assert batch.index("█") - search.index("█") == 20
    assert batch.endswith("rows=3")
