"""OpenTelemetry's variables decide whether there are traces and of which requests."""

import os
from collections.abc import Iterator
from unittest import mock

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from deployments.web.ended_request import EndedRequest
from deployments.web.tracing import Tracing, tracing_of_environment

_ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
_SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def _no_variables() -> Iterator[None]:
    others = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    with mock.patch.dict(os.environ, others, clear=True):
        yield


def test_without_a_collector_there_are_no_traces() -> None:
    assert tracing_of_environment("r") is None


@pytest.mark.parametrize(
    "variables",
    [
        {"OTEL_SDK_DISABLED": "true"},
        {"OTEL_EXPORTER_OTLP_PROTOCOL": "http/json"},
        {"OTEL_BSP_MAX_QUEUE_SIZE": "-1"},
    ],
    ids=str,
)
def test_variables_that_turn_it_off_or_are_wrong(variables: dict[str, str]) -> None:
    os.environ.update({_ENDPOINT: "http://127.0.0.1:1"} | variables)
    assert tracing_of_environment("r") is None


async def test_a_collector_turns_it_on() -> None:
    os.environ[_ENDPOINT] = "http://127.0.0.1:1"
    tracing = tracing_of_environment("r")
    assert tracing is not None
    await tracing.close()


@pytest.mark.parametrize(
    ("sampler", "traceparent", "spans"),
    [
        ("parentbased_traceidratio", "", 0),
        ("parentbased_traceidratio", _SAMPLED, 1),
        ("traceidratio", _SAMPLED, 0),
        ("always_on", "", 1),
        ("always_on", "malformed", 1),
    ],
)
def test_who_decides_what_is_sampled(sampler: str, traceparent: str, spans: int) -> None:
    os.environ |= {"OTEL_TRACES_SAMPLER": sampler, "OTEL_TRACES_SAMPLER_ARG": "0.0"}
    exporter = InMemorySpanExporter()
    provider = TracerProvider(shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing = Tracing(provider)
    trace = tracing.begin("GET", traceparent, 5.0)
    tracing.end(trace, EndedRequest("id", "GET", None, 503, "overloaded", 5.0, 5.5, None, trace.id))
    found = exporter.get_finished_spans()
    assert len(found) == spans
    if spans:
        [span] = found
        assert (span.end_time or 0) - (span.start_time or 0) == pytest.approx(5e8, abs=2e8)
        assert (span.attributes or {})["error.type"] == "overloaded"
        assert not span.status.is_ok
    if traceparent == _SAMPLED:
        assert trace.id == _SAMPLED.split("-")[1]
