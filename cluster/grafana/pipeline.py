"""The dashboard Pipeline: where the time of a request goes, queues, batches and caches."""

from cluster.grafana.panels import Dashboard, Panel, Query

_SPENT = "sum by (stage) (rate(ray_winnow_stage_seconds_sum_total[$__rate_interval]))"
_TOKENS = 'rate(ray_winnow_tokens_total{source!="embedding_cache"}[$__rate_interval])'
_EMBED = 'ray_winnow_tokens_total{stage="embed"}[$__rate_interval]'
_SPARED = 'ray_winnow_tokens_total{stage="embed", source="embedding_cache"}[$__rate_interval]'

PIPELINE = Dashboard(
    "winnow-pipeline",
    "Pipeline",
    "Stages' shares of a request, queues, batches, caches and the index.",
    (
        Panel(
            "Stages' share of the time of requests",
            "percentunit",
            (Query(f"{_SPENT} / scalar(sum({_SPENT}))", "{{stage}}"),),
            stacked=True,
        ),
        Panel(
            "99th percentile of a stage's time",
            "s",
            (Query("histogram_quantile(0.99, winnow:stage_seconds_bucket:rate5m)", "{{stage}}"),),
        ),
        Panel(
            "99th percentile of the wait in a queue",
            "s",
            (
                Query(
                    "histogram_quantile(0.99, winnow:queue_seconds_bucket:rate5m)",
                    "{{stage}} {{lane}}",
                ),
            ),
        ),
        Panel(
            "Tokens waiting",
            "short",
            (Query("sum by (stage, lane) (ray_winnow_queued_tokens)", "{{stage}} {{lane}}"),),
            stacked=True,
        ),
        Panel(
            "Oldest work waiting",
            "s",
            (Query("max by (stage) (ray_winnow_queue_oldest_seconds)", "{{stage}}"),),
            note="Outside the bulk lane.",
        ),
        Panel(
            "Batch fill",
            "percentunit",
            (
                Query(
                    f"sum by (stage) ({_TOKENS}) / sum by (stage)"
                    " (rate(ray_winnow_batch_capacity_tokens_total[$__rate_interval]))",
                    "{{stage}}",
                ),
            ),
            note="Tokens of batches, of what they could have held. Low while the stage is idle.",
        ),
        Panel(
            "Tokens by source",
            "short",
            (
                Query(
                    "sum by (stage, source) (rate(ray_winnow_tokens_total[$__rate_interval]))",
                    "{{stage}} {{source}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Tokens that the embedding cache spared",
            "percentunit",
            (
                Query(
                    f"(sum(rate({_SPARED})) or vector(0)) / sum(rate({_EMBED}))",
                    "share",
                ),
            ),
        ),
        Panel(
            "Free space of the index's disk",
            "percentunit",
            (Query("min(ray_winnow_index_free_bytes / ray_winnow_index_capacity_bytes)", "free"),),
            note="Of LanceDB. A database's disk is for its own monitoring.",
        ),
    ),
)
