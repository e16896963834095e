"""A request that has been answered, as the request log, the traces and the metrics see it.

Knows none of them, and nothing of the request's content.
"""

from dataclasses import dataclass

from deployments.tenants.admission import Admitted


@dataclass(frozen=True, slots=True)
class EndedRequest:
    """`began_s` and `ended_s` are on the service's monotonic clock. `route` is the template of the
    path, None where no route fits: a path holds what a client made up. `error` is an error's code.
    `call` is None unless the request's key was known. `trace_id` has 32 hexadecimal digits or
    none.
    """

    request_id: str
    method: str
    route: str | None
    status: int
    error: str | None
    began_s: float
    ended_s: float
    call: Admitted | None
    trace_id: str

    @property
    def duration_ms(self) -> float:
        return (self.ended_s - self.began_s) * 1000

    @property
    def tenant(self) -> str | None:
        return None if self.call is None else self.call.tenant.id
