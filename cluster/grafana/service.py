"""The dashboard Service: the golden signals of each route, and the error budget."""

from cluster.grafana.panels import Dashboard, Panel, Query

_OF_ROUTES = "sum by (route) (rate(ray_winnow_requests_total[$__rate_interval]))"
_FAILED = 'sum by (route) (rate(ray_winnow_requests_total{status=~"5.."}[$__rate_interval]))'
_LATENCY_MS = (
    "sum by (route, le) (rate(ray_serve_deployment_processing_latency_ms_bucket"
    '{application="winnow", deployment="Router"}[$__rate_interval]))'
)

SERVICE = Dashboard(
    "winnow-service",
    "Service",
    "Traffic, errors, latency and saturation by route.",
    (
        Panel("Requests by route", "reqps", (Query(_OF_ROUTES, "{{route}}"),)),
        Panel(
            "Answers by status",
            "reqps",
            (
                Query(
                    "sum by (status) (rate(ray_winnow_requests_total[$__rate_interval]))",
                    "{{status}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Share of 5xx by route",
            "percentunit",
            (Query(f"({_FAILED} or 0 * {_OF_ROUTES}) / {_OF_ROUTES}", "{{route}}"),),
        ),
        Panel(
            "Error ratio, as clients see it",
            "percentunit",
            (
                Query("winnow:http_errors:ratio_rate5m", "5 minutes"),
                Query("winnow:http_errors:ratio_rate1h", "1 hour"),
                Query("winnow:http_errors:ratio_rate6h", "6 hours"),
            ),
            note="At HAProxy, with what it refuses itself. The objective is 0.1% in 30 days.",
        ),
        Panel(
            "Median latency by route",
            "s",
            (Query(f"histogram_quantile(0.5, {_LATENCY_MS}) / 1000", "{{route}}"),),
        ),
        Panel(
            "99th percentile of latency by route",
            "s",
            (Query(f"histogram_quantile(0.99, {_LATENCY_MS}) / 1000", "{{route}}"),),
        ),
        Panel(
            "Calls in progress",
            "short",
            (
                Query(
                    "sum by (deployment)"
                    ' (ray_serve_replica_processing_queries{application="winnow"})',
                    "{{deployment}}",
                ),
            ),
        ),
        Panel(
            "Stages that answer",
            "short",
            (Query("min by (stage) (ray_winnow_stage_ready)", "{{stage}}"),),
            note="1 if every Router reaches a replica of the stage, or the stage sleeps.",
        ),
    ),
)
