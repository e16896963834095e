"""The dashboard Autoscaling: what the policy is told, what it decides, nodes and GPUs."""

from cluster.grafana.panels import Dashboard, Panel, Query

_ARRIVING = "ray_winnow_autoscaling_arriving_tokens_per_second"
_REPLICA = "ray_winnow_autoscaling_replica_tokens_per_second"

AUTOSCALING = Dashboard(
    "winnow-autoscaling",
    "Autoscaling",
    "Signals, target, replicas, nodes and GPUs.",
    (
        Panel(
            "Replicas",
            "short",
            (
                Query(
                    "max by (deployment) (ray_serve_autoscaling_target_replicas)",
                    "{{deployment}} wanted",
                ),
                Query(
                    "sum by (deployment) (ray_serve_deployment_replica_healthy)",
                    "{{deployment}} healthy",
                ),
                Query(
                    "max by (deployment) (ray_winnow_autoscaling_max_replicas)",
                    "{{deployment}} at most",
                ),
            ),
        ),
        Panel(
            "Tokens arriving a second",
            "short",
            (Query(f"max by (deployment, lane) ({_ARRIVING})", "{{deployment}} {{lane}}"),),
            stacked=True,
        ),
        Panel(
            "Tokens waiting",
            "short",
            (
                Query(
                    "max by (deployment, lane) (ray_winnow_autoscaling_queued_tokens)",
                    "{{deployment}} {{lane}}",
                ),
            ),
            stacked=True,
        ),
        Panel(
            "Throughput of a replica",
            "short",
            (Query(f"max by (deployment) ({_REPLICA})", "{{deployment}}"),),
            note="Tokens a second, as measured; 0 until a replica was once kept busy.",
        ),
        Panel(
            "Signals are fresh",
            "short",
            (
                Query(
                    "min by (deployment) (ray_winnow_autoscaling_signals_fresh)", "{{deployment}}"
                ),
            ),
            note="At 0 too few replicas report in time, and the size stays as it is.",
        ),
        Panel(
            "Nodes",
            "short",
            (Query("count(count by (SessionName, ip) (ray_node_cpu_count))", "nodes"),),
        ),
        Panel(
            "GPUs",
            "short",
            (Query('sum by (State) (ray_resources{Name="GPU"})', "{{State}}"),),
            note="As Ray counts them.",
        ),
        Panel(
            "CPU in use",
            "percentunit",
            (Query("avg by (ip) (ray_node_cpu_utilization) / 100", "{{ip}}"),),
        ),
    ),
)
