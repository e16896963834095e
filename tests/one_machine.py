"""Fields that may differ from production on one machine without a GPU.

The models and the size of their engines, where files lie, and how many replicas there may be. All
else there is production's.
"""

import re
from typing import Any

from cluster.overlay import differences

_APPLICATION = "applications.winnow."
_MAY_DIFFER = re.compile(
    "|".join(
        (
            r"http_options\.host",
            r"args\.(embedder|reranker)\.(name|aliases|dimensions|golden)",
            r"args\.(embedder|reranker)\.engine\.(model|max_model_len|max_num_batched_tokens"
            r"|max_num_seqs|enforce_eager|kv_cache_memory_bytes|gpu_memory_utilization|threads"
            r"|dtype|block_size)",
            r"args\.index\.database_url_file",
            r"args\.router\.(keys_file|tokenizer_threads|control\.\w+|embed_cache\.\w+)",
            r"autoscaling_policy\.policy_kwargs\.stages\.(Embedder|Reranker)"
            r"\.(replica_tokens_per_s|start_up_s|drain_s)",
            r"deployments\.(Router|Embedder|Reranker)\.autoscaling_config\.(min|max)_replicas",
            r"deployments\.(Embedder|Reranker)\.user_config"
            r"\.max_(batch_rows|batch_tokens|queued_tokens)",
        )
    )
)


def may_not_differ(production: Any, here: Any) -> set[str]:
    """Return the dotted paths at which `here` is not `production` and has to be."""
    found = differences(production, here)
    return {one for one in found if not _MAY_DIFFER.fullmatch(one.removeprefix(_APPLICATION))}
