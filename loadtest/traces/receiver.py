"""A receiver of OTLP over HTTP that keeps the spans it is sent, behind a real collector.

Knows OpenTelemetry's messages and nothing of Winnow.
"""

import gzip
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.common.v1.common_pb2 import AnyValue
from opentelemetry.proto.resource.v1.resource_pb2 import Resource
from opentelemetry.proto.trace.v1.trace_pb2 import Span

_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class ReceivedSpan:
    """A span; ids are hexadecimal, `parent` is empty for a root. `attributes` are its own,
    `resource` those of the process that sent it."""

    name: str
    trace: str
    id: str
    parent: str
    began_ns: int
    ended_ns: int
    failed: bool
    attributes: dict[str, Any]
    resource: dict[str, Any]


class Receiver:
    """Listens on `port` of this machine. `messages` are what came, as it was sent."""

    def __init__(self, port: int) -> None:
        self.messages: list[bytes] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                if self.headers.get("content-encoding") == "gzip":
                    body = gzip.decompress(body)
                receiver.messages.append(body)
                self.send_response(200)
                self.send_header("content-type", "application/x-protobuf")
                self.end_headers()
                self.wfile.write(ExportTraceServiceResponse().SerializeToString())

            def log_message(self, *_: object) -> None:
                return

        self._server = ThreadingHTTPServer(("127.0.0.1", port), Handler)

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self._server.serve_forever)
        thread.start()
        try:
            yield
        finally:
            self._server.shutdown()
            thread.join()
            self._server.server_close()

    def trace(self, trace: str) -> list[ReceivedSpan]:
        """Return the spans of a trace that have come, by their begin."""
        found = (one for one in self.spans() if one.trace == trace)
        return sorted(found, key=lambda one: one.began_ns)

    def spans(self) -> list[ReceivedSpan]:
        """Return all spans that have come."""
        return [span for message in list(self.messages) for span in _spans(message)]

    def wait_for(self, trace: str, root: str, patience_s: float = 20.0) -> list[ReceivedSpan]:
        """Return the spans of a trace when that of the name `root` is there, which ends last.
        Raises TimeoutError."""
        deadline_s = time.monotonic() + patience_s
        while time.monotonic() < deadline_s:
            spans = self.trace(trace)
            if any(span.name == root for span in spans):
                return spans
            time.sleep(_POLL_S)
        raise TimeoutError(f"there is no span '{root}' of the trace {trace}")


def _spans(message: bytes) -> Iterator[ReceivedSpan]:
    for of_resource in ExportTraceServiceRequest.FromString(message).resource_spans:
        for of_scope in of_resource.scope_spans:
            for span in of_scope.spans:
                yield _received(span, of_resource.resource)


def _received(span: Span, resource: Resource) -> ReceivedSpan:
    return ReceivedSpan(
        name=span.name,
        trace=span.trace_id.hex(),
        id=span.span_id.hex(),
        parent=span.parent_span_id.hex(),
        began_ns=span.start_time_unix_nano,
        ended_ns=span.end_time_unix_nano,
        failed=span.status.code == span.status.STATUS_CODE_ERROR,
        attributes={one.key: _value(one.value) for one in span.attributes},
        resource={one.key: _value(one.value) for one in resource.attributes},
    )


def _value(value: AnyValue) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    return None if kind is None else getattr(value, kind)
