"""The meter: takes the usage of each served request to the journal, and on to the control store.

Knows a request's usage only when it is complete; nothing of the calls it took.
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
# A database that was cut off may not answer for hours; all of a day is stored in less.
_FLUSH_TIMEOUT_S = 300.0


class Meter:
    """Records usage, and stores it every second.

    `models` maps a stage to its model's name. `observe` is called with (tenant, stage, tokens,
    cached tokens) for each total stored. `clock` returns seconds since 1970.
    """

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
        """Write a request's usage to the journal, where it outlives this process."""
        hour = int(self._clock() // HOUR_S)
        for stage, tokens, cached in used:
            try:
                self._journal.append(hour, tenant, stage, self._models[stage], [tokens, cached])
            except OSError:
                # The request was served, so it is answered; the log has what the bill lacks.
                logger.exception("not billed: %s %s %s %s", tenant, stage, tokens, cached)

    async def flush(self) -> None:
        """Store everything recorded until now."""
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
        """Flush every second, for ever. Usage that cannot be stored stays in the journal."""
        while True:
            await asyncio.sleep(_FLUSH_S)
            try:
                async with asyncio.timeout(_FLUSH_TIMEOUT_S):
                    await self.flush()
            except Exception:  # no error of the database may end the loop
                logger.exception("usage could not be stored: it waits in the journal")
