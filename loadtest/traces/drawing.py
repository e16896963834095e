"""A trace as text: a line a span, indented below its parent, with a bar for when it ran."""

from collections.abc import Iterator, Sequence

from loadtest.traces.receiver import ReceivedSpan

_WIDTH = 40
_SHOWN = ("winnow.rows", "winnow.batch.rows", "winnow.batch.tokens", "http.response.status_code")


def draw(spans: Sequence[ReceivedSpan]) -> str:
    """Return the drawing, of spans of one trace."""
    began_ns = min(span.began_ns for span in spans)
    whole_ns = max(span.ended_ns for span in spans) - began_ns or 1
    rows = list(_nested(spans))
    names = max(len("  " * depth + span.name) for depth, span in rows)
    lines = [f"{'span':{names}}  {'from ms':>8}  {'ms':>8}  {'':{_WIDTH}}  attributes"]
    for depth, span in rows:
        first = (span.began_ns - began_ns) * _WIDTH // whole_ns
        last = max(first + 1, (span.ended_ns - began_ns) * _WIDTH // whole_ns)
        bar = " " * first + "█" * (last - first)
        from_ms, ms = (span.began_ns - began_ns) / 1e6, (span.ended_ns - span.began_ns) / 1e6
        lines.append(
            f"{'  ' * depth + span.name:{names}}  {from_ms:8.2f}  {ms:8.2f}  {bar:{_WIDTH}}"
            f"  {_attributes(span)}".rstrip()
        )
    return "\n".join(lines)


def _nested(
    spans: Sequence[ReceivedSpan], parent: ReceivedSpan | None = None, depth: int = 0
) -> Iterator[tuple[int, ReceivedSpan]]:
    known = {span.id for span in spans}
    for span in spans:
        if span.parent == parent.id if parent else span.parent not in known:
            yield depth, span
            yield from _nested(spans, span, depth + 1)


def _attributes(span: ReceivedSpan) -> str:
    found = [(name, span.attributes[name]) for name in _SHOWN if name in span.attributes]
    return ", ".join(f"{name.removeprefix('winnow.')}={value}" for name, value in found)
