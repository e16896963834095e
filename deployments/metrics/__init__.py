"""Metrics that neither Ray nor vLLM exports. The only folder that knows Ray's metrics.

Create them inside a replica, so that Serve tags them with it. Ray's metrics port exports them with
the prefix `ray_`, counters with `_total` after the name. What a request counts is summed in this
process and handed to Ray every few seconds (`tally`, `latencies`).
"""
