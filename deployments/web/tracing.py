"""Traces of requests, exported over OTLP. The only module that knows OpenTelemetry.

On where OpenTelemetry's own variables name a collector (OTEL_EXPORTER_OTLP_ENDPOINT); sampler,
service name, headers and all else are theirs too. Only the Router exports: it makes the spans of
stages, calls and batches after the fact, out of what a request's timings hold, so that nothing
travels with the calls that many requests share. A span holds no text, no path and no key. Of what
the client sends only `traceparent` is read: a `tracestate` would carry its words into the spans.
"""

import asyncio
import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable, Mapping

from opentelemetry.context import Context
from opentelemetry.sdk.resources import SERVICE_INSTANCE_ID, SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, format_span_id, format_trace_id
from opentelemetry.trace.propagation import set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from deployments.request.batch_run import BatchRun
from deployments.request.timings import StageSpan
from deployments.request.traced import is_traced
from deployments.web.ended_request import EndedRequest

logger = logging.getLogger(__name__)

_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
# The cost of a batch is in tokens for these; the store's is in milliseconds.
_OF_TOKENS = ("embed", "rerank")
# What a collector that is away may take from a replica that ends.
_FLUSH_S = 2.0


class Trace:
    """The trace of one request, from its arrival. `began_s` is on the service's clock."""

    def __init__(self, span: Span, began_s: float) -> None:
        context = span.get_span_context()
        self.span = span
        self.id = format_trace_id(context.trace_id)
        # As W3C's draft of Trace Context 2 has it: the span in which the client's request ended.
        self.response_header = (
            f"00-{self.id}-{format_span_id(context.span_id)}-{context.trace_flags:02x}"
        ).encode()
        self._began_s = began_s
        self._began_ns = time.time_ns()

    def at_ns(self, at_s: float) -> int:
        """Return a time of the service's clock in nanoseconds since the epoch."""
        return self._began_ns + int((at_s - self._began_s) * 1e9)


class Tracing:
    """`provider` samples and exports."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._tracer = provider.get_tracer("winnow")
        self._propagator = TraceContextTextMapPropagator()

    def begin(self, method: str, traceparent: str, began_s: float) -> Trace:
        """Begin the trace of a request, in the client's if it sent a well-formed `traceparent`."""
        parent = Context()  # not the current one: that may be another request's
        if traceparent:
            parent = self._propagator.extract({"traceparent": traceparent}, parent)
        return Trace(self._tracer.start_span(method, parent, SpanKind.SERVER), began_s)

    def end(self, trace: Trace, request: EndedRequest) -> None:
        """End the request's span, with those of its stages, calls and batches in it."""
        span = trace.span
        if span.is_recording():
            span.update_name(f"{request.method} {request.route or ''}".rstrip())
            span.set_attributes(_attributes(request))
            if request.status >= 500:
                span.set_status(Status(StatusCode.ERROR))
            timings = None if request.call is None else request.call.timings
            for stage in timings.spans if timings else ():
                self._add_stage(trace, stage)
        span.end(trace.at_ns(request.ended_s))

    async def close(self) -> None:
        """Export what has not been exported; a collector that is away gets two seconds."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def flush() -> None:
            self._provider.shutdown()
            with contextlib.suppress(RuntimeError):  # the loop has ended before it
                loop.call_soon_threadsafe(done.set)

        # Not in the loop's pool, for whose threads a process waits when it ends.
        threading.Thread(target=flush, daemon=True).start()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(done.wait(), _FLUSH_S)

    def _add_stage(self, trace: Trace, stage: StageSpan) -> None:
        add = self._adder(trace, stage.stage)
        within = add(trace.span, stage.stage, stage.began_s, stage.ended_s, {})
        calls: dict[tuple[str, float], Span] = {}
        for run in stage.runs:
            call = calls.get((run.replica, run.called_s))
            if call is None:
                call = add(within, f"{stage.stage} call", run.called_s, run.answered_s, _whose(run))
                calls[run.replica, run.called_s] = call
            began_s = run.arrived_s + run.queued_s
            add(call, f"{stage.stage} queue", run.arrived_s, began_s, _whose(run))
            ended_s = began_s + run.ran_s
            add(call, f"{stage.stage} batch", began_s, ended_s, _of_batch(stage.stage, run))

    def _adder(
        self, trace: Trace, stage: str
    ) -> Callable[[Span, str, float, float, Mapping[str, AttributeValue]], Span]:
        def add(
            parent: Span,
            name: str,
            began_s: float,
            ended_s: float,
            attributes: Mapping[str, AttributeValue],
        ) -> Span:
            span = self._tracer.start_span(
                name,
                set_span_in_context(parent, Context()),
                SpanKind.INTERNAL,
                {"winnow.stage": stage, **attributes},
                start_time=trace.at_ns(began_s),
            )
            span.end(trace.at_ns(ended_s))
            return span

        return add


def tracing_of_environment(replica: str) -> Tracing | None:
    """Return the tracing that OpenTelemetry's variables ask for; None where they name no collector.

    The spans name this `replica`. A mistake in the variables is logged, and there is no tracing: no
    request fails for it.
    """
    if not is_traced():
        return None
    try:
        provider = TracerProvider(resource=_resource(replica), shutdown_on_exit=False)
        provider.add_span_processor(BatchSpanProcessor(_exporter()))
    except Exception:  # of whatever the variables hold
        logger.exception("there are no traces: OpenTelemetry's variables cannot be used")
        return None
    return Tracing(provider)


def _resource(replica: str) -> Resource:
    found = Resource.create({SERVICE_INSTANCE_ID: replica} if replica else {})
    if str(found.attributes[SERVICE_NAME]).startswith("unknown_service"):
        found = found.merge(Resource({SERVICE_NAME: "winnow"}))
    return found


def _exporter() -> SpanExporter:
    protocol = next((os.environ[name] for name in _PROTOCOLS if name in os.environ), "")
    # Imported late: each loads a client of its own, and most clusters have no tracing.
    if protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (
            OTLPSpanExporter as GrpcExporter,
        )

        return GrpcExporter()
    if protocol not in ("", "http/protobuf"):
        raise ValueError(f"{_PROTOCOLS[1]} is '{protocol}': it may be http/protobuf or grpc")
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter

    return OTLPSpanExporter()


def _attributes(request: EndedRequest) -> dict[str, AttributeValue]:
    found: dict[str, AttributeValue | None] = {
        "http.request.method": request.method,
        "http.route": request.route,
        "http.response.status_code": request.status,
        "error.type": request.error,
        "winnow.request_id": request.request_id,
        "winnow.tenant": request.tenant,
    }
    call = request.call
    if call is not None:
        found["winnow.degraded"] = call.degraded or None
        for stage, tokens, cached in call.usage:
            found[f"winnow.{stage}.tokens"] = tokens
            found[f"winnow.{stage}.cached_tokens"] = cached
    return {name: value for name, value in found.items() if value is not None}


def _whose(run: BatchRun) -> dict[str, AttributeValue]:
    return {"winnow.replica": run.replica}


def _of_batch(stage: str, run: BatchRun) -> dict[str, AttributeValue]:
    attributes: dict[str, AttributeValue] = {
        "winnow.replica": run.replica,
        "winnow.rows": run.rows,
        "winnow.batch.rows": run.batch_rows,
    }
    if stage in _OF_TOKENS:
        attributes["winnow.batch.tokens"] = run.batch_cost
    return attributes
