"""Usage on its way from the answers to the control store.

Counted once, when a request has been served: a stage that is asked twice inside is not seen here.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping

from deployments.request.deadline import Clock
from deployments.tenants.usage.journal import UsageJournal
from deployments.tenants.usage.ledger import UsageLedger

logger = logging.getLogger(__name__)

HOUR_S = 3600
_FLUSH_S = 1.0


class Meter:
    """`models` names the model of each stage; `observe` is told (tenant, stage, tokens, cached
    tokens) of what was stored, in sums; `clock` tells seconds since 1970."""

    def __init__(
        self,
        journal: UsageJournal,
        ledger: UsageLedger,
        models: Mapping[str, str],
        observe: Callable[[str, str, int, int], None],
        clock: Clock,
    ) -> None:
        self._journal = journal
        self._ledger = ledger
        self._models = models
        self._observe = observe
        self._clock = clock
        self._flushing = asyncio.Lock()
        self._settled: list[str] = []

    def record(self, tenant: str, used: list[tuple[str, int, int]]) -> None:
        """Returns once it is where the death of this process cannot undo it."""
        hour = int(self._clock() // HOUR_S)
        for stage, tokens, cached in used:
            try:
                self._journal.append(hour, tenant, stage, self._models[stage], [tokens, cached])
            except OSError:
                # No reason to refuse an answer; the log keeps what the bill lacks.
                logger.exception("not billed: %s %s %s %s", tenant, stage, tokens, cached)

    async def flush(self) -> None:
        """All that was recorded is in the store when this returns."""
        async with self._flushing:
            for batch, used in self._journal.batches():
                settled = list(self._settled)
                await self._ledger.add(batch, used, settled)
                self._journal.settle(batch)
                self._settled = [name for name in self._settled if name not in settled]
                self._settled.append(batch)
                for one in used:
                    self._observe(one.tenant, one.stage, one.tokens, one.cached_tokens)

    async def run(self) -> None:
        """Flush about each second, for ever. What cannot be stored now stays in the journal."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                await self.flush()
            except Exception:  # a store out of reach must not end the loop
                logger.exception("usage could not be stored: it waits in the journal")
