"""The dashboard Engines: batches, vLLM's own counts, prefix cache, canary, GPU memory."""

from cluster.grafana.panels import Dashboard, Panel, Query

_MODEL = 'ray_winnow_tokens_total{source!="embedding_cache"}[$__rate_interval]'
_PREFIX = 'ray_winnow_tokens_total{source="prefix_cache"}[$__rate_interval]'
_COMPUTED = 'ray_winnow_tokens_total{source="computed"}[$__rate_interval]'
_BATCH_S = "sum by (stage, le) (rate(ray_winnow_batch_seconds_bucket[$__rate_interval]))"
_BATCH_TOKENS = "sum by (stage, le) (rate(ray_winnow_batch_tokens_bucket[$__rate_interval]))"


def _rate(counter: str) -> str:
    """Return the query for what a counter gained a second, by stage."""
    return f"sum by (stage) (rate({counter}[$__rate_interval]))"


_STEPS = _rate("ray_vllm_engine_steps_total")
_PROMPT_TOKENS = _rate("ray_vllm_prompt_tokens_total")

ENGINES = Dashboard(
    "winnow-engines",
    "Engines",
    "Batches and tokens, vLLM's own counts, prefix cache, golden canary, GPU memory.",
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
            (Query(_rate("ray_winnow_batch_seconds_count"), "{{stage}}"),),
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
            "vLLM: prompt tokens of a step",
            "short",
            (Query(f"{_PROMPT_TOKENS} / {_STEPS}", "{{stage}}"),),
            note="With those found in the prefix cache; fewer where a batch takes several steps.",
        ),
        Panel(
            "vLLM: tokens in the prefix cache",
            "short",
            (
                Query(_rate("ray_vllm_prefix_cache_queries_total"), "{{stage}} looked up"),
                Query(_rate("ray_vllm_prefix_cache_hits_total"), "{{stage}} found"),
            ),
            note="A second. None where the model has no prefix cache, as BERT has not.",
        ),
        Panel(
            "vLLM: requests left after a step",
            "short",
            (
                Query("max by (stage) (ray_vllm_num_requests_running)", "{{stage}} running"),
                Query("max by (stage) (ray_vllm_num_requests_waiting)", "{{stage}} waiting"),
            ),
            note="At most, in the last seconds; 0 while each batch is one step.",
        ),
        Panel(
            "vLLM: KV cache in use after a step",
            "percentunit",
            (Query("max by (stage) (ray_vllm_kv_cache_usage_perc)", "{{stage}}"),),
            note="At most, in the last seconds; requests that have ended use none.",
        ),
        Panel(
            "vLLM: preemptions",
            "ops",
            (Query(_rate("ray_vllm_num_preemptions_total"), "{{stage}}"),),
            note="Work begun again for want of KV cache: give the engine more, or smaller batches.",
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
