"""The tree of errors that Winnow answers with, and their meaning to a caller.

    WinnowError
    ├── InvalidRequest      400  the request must change
    ├── Unauthorized        401  no API key, or an unknown one
    ├── Forbidden           403  the key or the plan may not do this
    ├── NotFound            404  no such collection, document, model or route
    ├── MethodNotAllowed    405  the route exists under another method
    ├── RequestTimeout      408  the body took too long to arrive
    ├── Conflict            409  the stored state contradicts the request
    ├── PayloadTooLarge     413  send less at once
    ├── UnsupportedMedia    415  the body is encoded in a way that is not read here
    ├── QuotaExceeded       429  the tenant's own limit is used up
    ├── InternalError       500  a defect of ours, reported without details
    ├── Overloaded          503  the cluster has no capacity now
    ├── StageUnavailable    503  a stage has no healthy replica now
    ├── DeadlineExceeded    504  the request's deadline has passed
    └── StorageFull         507  the index has no space left

Status, code and Retry-After are on the class. A message says what to change and never contains a
library's text or a traceback. Errors are pickled between replicas: all constructor arguments go to
`super().__init__`, or are attributes. Knows no HTTP body: `web.error_handlers` renders them.
"""

from typing import ClassVar


class WinnowError(Exception):
    """The root of the tree.

    `param` names the field of the request that is at fault, if any. `retry_after_s`, if given,
    replaces the class's own.
    """

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"
    retry_after_s: float | None = None

    def __init__(
        self, message: str, param: str | None = None, retry_after_s: float | None = None
    ) -> None:
        super().__init__(message, param, retry_after_s)
        self.message = message
        self.param = param
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s

    def __str__(self) -> str:
        return self.message


class InvalidRequest(WinnowError):
    status = 400
    code = "invalid_request"


class Unauthorized(WinnowError):
    status = 401
    code = "invalid_api_key"


class Forbidden(WinnowError):
    status = 403
    code = "insufficient_scope"


class LaneNotAllowed(Forbidden):
    """The tenant's plan does not include this lane."""

    code = "lane_not_allowed"


class NotFound(WinnowError):
    status = 404
    code = "not_found"


class ModelNotFound(NotFound):
    code = "model_not_found"


class MethodNotAllowed(WinnowError):
    status = 405
    code = "method_not_allowed"


class RequestTimeout(WinnowError):
    status = 408
    code = "request_timeout"


class Conflict(WinnowError):
    status = 409
    code = "conflict"


class FingerprintMismatch(Conflict):
    """A collection's vectors were made by another model than the running one."""

    code = "fingerprint_mismatch"

    @classmethod
    def between(cls, collection: str, stored: str, running: str) -> "FingerprintMismatch":
        return cls(
            f"collection '{collection}' holds vectors of {stored} and the embedder now running is"
            f" {running}: serve the model that made it, or delete the collection and ingest it"
            " again",
            param="collection",
        )


class PayloadTooLarge(WinnowError):
    status = 413
    code = "payload_too_large"


class UnsupportedMedia(WinnowError):
    status = 415
    code = "unsupported_media_type"


class QuotaExceeded(WinnowError):
    status = 429
    code = "rate_limit_exceeded"
    retry_after_s: float | None = 1.0


class QuotaExhausted(QuotaExceeded):
    """A limit that does not recover by waiting is reached."""

    code = "insufficient_quota"
    retry_after_s = None


class InternalError(WinnowError):
    """A defect of ours; its details are in the log only."""


class RowFailed(InternalError):
    """The model has no answer for the row `row` of a request, which is counted from 0."""

    code = "row_failed"
    row: int = 0

    @classmethod
    def at(cls, row: int, stage: str) -> "RowFailed":
        error = cls(
            f"the {stage} stage could not compute row {row} of this request (counted from 0): send"
            " the request without it"
        )
        error.row = row
        return error


class Overloaded(WinnowError):
    """Load shedding: the work could not be done in time.

    `unit_s` is the time per unit of cost (a token, a millisecond of a store) at the caller's share
    of the stage that refused, if known; then `retry_after_s` is the time by which the work would
    have been late.
    """

    status = 503
    code = "overloaded"
    retry_after_s = 1.0

    def __init__(
        self,
        message: str,
        param: str | None = None,
        retry_after_s: float | None = None,
        unit_s: float | None = None,
    ) -> None:
        super().__init__(message, param, retry_after_s)
        self.unit_s = unit_s


class StageUnavailable(WinnowError):
    status = 503
    code = "stage_unavailable"
    retry_after_s = 2.0


class NotBegun(StageUnavailable):
    """The replica has not started the call, so another one may serve it."""


class EngineFailed(StageUnavailable):
    """A model's engine has failed while it computed the call; its replica ends."""


class StoreUnavailable(StageUnavailable):
    """The store behind the index does not answer: no other replica brings it back."""


class StageSilent(StageUnavailable):
    """Replicas of the stage are running, and none answers."""


class DeadlineExceeded(WinnowError):
    status = 504
    code = "deadline_exceeded"


class StorageFull(WinnowError):
    status = 507
    code = "storage_full"
