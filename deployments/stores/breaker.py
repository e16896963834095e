"""A circuit breaker before a store: one that does not answer is left alone for some seconds.

While a store is away, each call to it would hold its caller's place for as long as the store's
client waits. After three failures in a row calls are refused at once, but for one every two
seconds, until one of those is answered.

Pure: is told what failed, and reads a clock.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus

from deployments.errors import StoreUnavailable, WinnowError
from deployments.request.deadline import Clock

logger = logging.getLogger(__name__)

_MOST_FAILURES = 3
_REST_S = 2.0


class StoreBreaker:
    """Put each call to the store in `guard`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._failures = 0
        self._rests_until_s = 0.0

    def check(self) -> None:
        """Raises StoreUnavailable if a call would be refused now."""
        rest_s = self._rests_until_s - self._clock()
        if self._failures >= _MOST_FAILURES and rest_s > 0:
            raise StoreUnavailable("the index does not answer", retry_after_s=rest_s)

    @contextmanager
    def guard(self) -> Iterator[None]:
        """Count how the call inside ends. Raises StoreUnavailable if there must be none.

        An error with a status below 500 is an answer of the store; others say nothing of it.
        """
        self.check()
        if self._failures >= _MOST_FAILURES:
            self._rest()  # for all but this call
        try:
            yield
        except StoreUnavailable:
            self.fail()
            raise
        except WinnowError as error:
            if error.status < HTTPStatus.INTERNAL_SERVER_ERROR:
                self._failures = 0
            raise
        self._failures = 0

    def fail(self) -> None:
        """Count a failure that no call had: what should have called for the store is stuck."""
        self._failures += 1
        if self._failures >= _MOST_FAILURES:
            self._rest()
        if self._failures == _MOST_FAILURES:
            logger.warning("the store does not answer: it is asked every %.0f s", _REST_S)

    def _rest(self) -> None:
        self._rests_until_s = self._clock() + _REST_S
