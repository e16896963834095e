"""Deletes what the control store need not keep, so that it does not grow for ever."""

from dataclasses import dataclass

from deployments.request.deadline import Clock
from deployments.tenants.store.database import Database
from deployments.tenants.store.tables import audit, usage, usage_batches

_HOUR_S = 3600
_DAY_S = 24 * _HOUR_S
# A journal that was stored and is still on the disk is found by the next Router of its machine, and
# known by its name: a name is kept for longer than any machine should be away.
_BATCH_DAYS = 90
# It says how long a key was made for, which its next rotation needs.
_KEPT_ACTION = "key.rotate"


@dataclass(frozen=True, slots=True)
class Retention:
    """Days for which hours of usage, and changes of tenants and keys, are kept; None is for
    ever."""

    usage_days: int | None = None
    audit_days: int | None = None

    async def apply(self, database: Database, clock: Clock) -> None:
        """Delete what is older. Any number of Routers may do it at once."""
        now_s = clock()
        async with database.write() as connection:
            old = usage_batches.c.added < now_s - _BATCH_DAYS * _DAY_S
            await connection.execute(usage_batches.delete().where(old))
            if self.usage_days is not None:
                first_hour = int(now_s - self.usage_days * _DAY_S) // _HOUR_S
                await connection.execute(usage.delete().where(usage.c.hour < first_hour))
            if self.audit_days is not None:
                old = audit.c.at < now_s - self.audit_days * _DAY_S
                changes = audit.delete().where(old, audit.c.action != _KEPT_ACTION)
                await connection.execute(changes)
