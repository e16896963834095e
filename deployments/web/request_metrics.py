"""What every answer is counted by: its route and status, its tenant and outcome.

Knows no metrics system and no dialect.
"""

from typing import Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

# Prometheus drops a label without a value.
NO_ROUTE = "(none)"


class RequestMetrics(Protocol):
    """`route` is a template, NO_ROUTE for a path without one. `outcome` is `ok`, or the code of the
    error."""

    def answered(self, route: str, status: int) -> None: ...
    def of_tenant(self, tenant: str, outcome: str, limit_tokens_per_min: int | None) -> None: ...
    def spent(self, stage: str, seconds: float) -> None: ...


class _NoMetrics:
    def answered(self, route: str, status: int) -> None:
        pass

    def of_tenant(self, tenant: str, outcome: str, limit_tokens_per_min: int | None) -> None:
        pass

    def spent(self, stage: str, seconds: float) -> None:
        pass


NO_METRICS: RequestMetrics = _NoMetrics()


class CountRequests:
    """ASGI middleware that counts answers when they begin."""

    def __init__(self, app: ASGIApp, metrics: RequestMetrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def counted(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._count(scope, message["status"])
            await send(message)

        await self._app(scope, receive, counted)

    def _count(self, scope: Scope, status: int) -> None:
        self._metrics.answered(getattr(scope.get("route"), "path", NO_ROUTE), status)
        state = scope.get("state") or {}
        call = state.get("call")
        if call is not None:
            outcome = state.get("error_code", "ok")
            self._metrics.of_tenant(call.tenant.id, outcome, call.plan.tokens_per_min)
