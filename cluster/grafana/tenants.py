"""The dashboard Tenants: usage, limits and refusals."""

from cluster.grafana.panels import Dashboard, Panel, Query

_REFUSED = 'ray_winnow_tenant_requests_total{outcome!="ok"}[$__rate_interval]'

TENANTS = Dashboard(
    "winnow-tenants",
    "Tenants",
    "Usage, quota and refusals; the first 200 tenants by name, the rest in sum.",
    (
        Panel(
            "Tokens by tenant",
            "short",
            (Query("topk(10, winnow:tenant_tokens:rate5m)", "{{tenant}}"),),
            note="A second; the ten with the most.",
        ),
        Panel(
            "Tokens by stage and cache",
            "short",
            (
                Query(
                    "sum by (stage, cached)"
                    " (rate(ray_winnow_tenant_tokens_total[$__rate_interval]))",
                    "{{stage}}, cached: {{cached}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Share of the token limit in use",
            "percentunit",
            (
                Query(
                    "topk(10, winnow:tenant_tokens:rate5m * 60 / on (tenant)"
                    " max by (tenant) (ray_winnow_tenant_limit_tokens_per_minute))",
                    "{{tenant}}",
                ),
            ),
        ),
        Panel(
            "Requests by tenant",
            "reqps",
            (
                Query(
                    "topk(10, sum by (tenant)"
                    " (rate(ray_winnow_tenant_requests_total[$__rate_interval])))",
                    "{{tenant}}",
                ),
            ),
        ),
        Panel(
            "Refusals by reason",
            "reqps",
            (Query(f"sum by (outcome) (rate({_REFUSED}))", "{{outcome}}"),),
            stacked=True,
        ),
        Panel(
            "Refusals by tenant",
            "reqps",
            (Query(f"topk(10, sum by (tenant) (rate({_REFUSED})))", "{{tenant}}"),),
        ),
        Panel(
            "Failures of the stores of tenants and limits",
            "ops",
            (
                Query(
                    "sum by (store) (rate(ray_winnow_store_failures_total[$__rate_interval]))",
                    "{{store}}",
                ),
            ),
        ),
    ),
)
