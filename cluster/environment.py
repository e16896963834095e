"""Environment variables of every Ray process, on this machine and on Kubernetes.

Ray and Serve read them when they start. The chart (k8s/chart) has the same; a test compares them.
"""

SERVE_ENVIRONMENT = {
    # HAProxy talks straight to the Router's replicas: both together give 7 times the requests/s.
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # The vectors of a large batch exceed gRPC's default of 4 MiB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 1024 * 1024),
    # A connection is closed when its client sends nothing for longer than any request may take; the
    # default is an hour.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "130",
    # A request lost with its Router is sent to another one; requests may be repeated.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    # A Router that does not answer gets no requests after two checks, each of at most so long, and
    # what it holds is sent to another (cluster/haproxy.py).
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "1s",
    # Drops headers that control Serve: clients must not send them.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.web.header_filter:middlewares",
    # A replica that fails its health checks does not stop by itself, and holds resources.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Lines are written when they are logged, not a thousand later.
    "RAY_SERVE_REQUEST_PATH_LOG_BUFFER_SIZE": "1",
    # Serve's own go from 1 to 2 s and from 2 to 5, which is where a 99th percentile lies.
    "RAY_SERVE_REQUEST_LATENCY_BUCKETS_MS": (
        "5,10,20,35,50,75,100,150,200,300,400,500,700,1000,1500,2000,3000,5000,7500,10000,20000,"
        "30000,60000,120000"
    ),
    # An engine in a process of its own ends with its replica, however that ends: it would keep its
    # GPU's memory from the next one.
    "RAY_process_group_cleanup_enabled": "1",
    # Unset, Ray 2.60 decides by itself whether its ports ask for a token.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def packing_environment(packed: bool) -> dict[str, str]:
    """Return the variables of Serve's controller that make replicas fill nodes, if `packed`."""
    return {"RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "1"} if packed else {}
