"""Environment variables that local clusters and Kubernetes pods share. Ray and Serve read them when
they start."""

SERVE_ENVIRONMENT = {
    # HAProxy straight to the Router's replicas; the two belong together (7 times the requests).
    "RAY_SERVE_ENABLE_HA_PROXY": "1",
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    # Vectors of a large batch are over gRPC's usual 4 MiB.
    "RAY_SERVE_REPLICA_GRPC_MAX_MESSAGE_LENGTH": str(64 * 1024 * 1024),
    # A client that sends nothing for longer than any request may take loses its connection; an hour
    # unless said.
    "RAY_SERVE_HAPROXY_TIMEOUT_CLIENT_S": "130",
    # What a Router took with it when it died goes to another: requests may be made twice.
    "RAY_SERVE_HAPROXY_RETRY_ON": "conn-failure empty-response",
    # One that no longer answers gets nothing more after two checks.
    "RAY_SERVE_HAPROXY_HEALTH_CHECK_INTER": "2s",
    # Headers that command Serve are not the client's to send.
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": "deployments.web.header_filter:middlewares",
    # A replica that fails its checks would not hear that it is to end; what it holds, others need.
    "RAY_SERVE_FORCE_STOP_UNHEALTHY_REPLICAS": "1",
    # Ray 2.60 would choose by itself whether its ports ask for a token.
    "RAY_AUTH_MODE": "token",
    "RAY_USAGE_STATS_ENABLED": "0",
}


def packing_environment(packed: bool) -> dict[str, str]:
    """Serve's controller reads it."""
    return {"RAY_SERVE_USE_PACK_SCHEDULING_STRATEGY": "1"} if packed else {}
