"""Whether this cluster's requests are traced, by OpenTelemetry's own environment variables.

The variables are the same on every node: a replica measures its batches for the Router's traces,
and does not where there are none.
"""

import os

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def is_traced() -> bool:
    """Return whether the variables name a collector, and do not turn OpenTelemetry off."""
    if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return False
    return any(os.environ.get(name) for name in _ENDPOINTS)
