"""The dashboard Engines: what vLLM does in each stage, prefix cache, canary, GPU memory.

Engines run in processes that Ray's exporter does not reach and keep no statistics of their own:
what is shown is measured around them.
"""

from cluster.grafana.panels import Dashboard, Panel, Query

_MODEL = 'ray_winnow_tokens_total{source!="embedding_cache"}[$__rate_interval]'
_PREFIX = 'ray_winnow_tokens_total{source="prefix_cache"}[$__rate_interval]'
_COMPUTED = 'ray_winnow_tokens_total{source="computed"}[$__rate_interval]'
_BATCH_S = "sum by (stage, le) (rate(ray_winnow_batch_seconds_bucket[$__rate_interval]))"
_BATCH_TOKENS = "sum by (stage, le) (rate(ray_winnow_batch_tokens_bucket[$__rate_interval]))"

ENGINES = Dashboard(
    "winnow-engines",
    "Engines",
    "vLLM's batches and tokens, prefix cache, golden canary, GPU memory.",
    (
        Panel(
            "Tokens computed",
            "short",
            (Query(f"sum by (stage, replica) (rate({_COMPUTED}))", "{{stage}} {{replica}}"),),
            note="A second, by replica.",
        ),
        Panel(
            "Batches",
            "ops",
            (
                Query(
                    "sum by (stage) (rate(ray_winnow_batch_seconds_count[$__rate_interval]))",
                    "{{stage}}",
                ),
            ),
        ),
        Panel(
            "Time of a batch",
            "s",
            (
                Query(f"histogram_quantile(0.5, {_BATCH_S})", "{{stage}} median"),
                Query(f"histogram_quantile(0.99, {_BATCH_S})", "{{stage}} p99"),
            ),
        ),
        Panel(
            "Tokens of a batch",
            "short",
            (
                Query(f"histogram_quantile(0.5, {_BATCH_TOKENS})", "{{stage}} median"),
                Query(f"histogram_quantile(0.99, {_BATCH_TOKENS})", "{{stage}} p99"),
            ),
        ),
        Panel(
            "Tokens that the prefix cache spared",
            "percentunit",
            (
                Query(
                    f"(sum by (stage) (rate({_PREFIX})) or 0 * sum by (stage) (rate({_MODEL})))"
                    f" / sum by (stage) (rate({_MODEL}))",
                    "{{stage}}",
                ),
            ),
        ),
        Panel(
            "Golden canary",
            "short",
            (Query("min by (stage) (ray_winnow_golden_passed)", "{{stage}}"),),
            note="1 if all replicas gave their known answers at the last check.",
        ),
        Panel(
            "GPU memory in use",
            "bytes",
            (
                Query(
                    "sum by (ip, GpuIndex) (ray_node_gram_used) * 2^20", "{{ip}} GPU {{GpuIndex}}"
                ),
            ),
        ),
        Panel(
            "GPU utilization",
            "percentunit",
            (
                Query(
                    "avg by (ip, GpuIndex) (ray_node_gpus_utilization) / 100",
                    "{{ip}} GPU {{GpuIndex}}",
                ),
            ),
        ),
    ),
)
