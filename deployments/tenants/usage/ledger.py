"""The usage ledger: each tenant's usage of each model, one row an hour, in the control store.

A journal is added whole and exactly once, even if a flush is interrupted: its id is written in the
same transaction and kept until its file is known to be deleted.
"""

import time
from collections.abc import Iterable, Sequence

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite

from deployments.request.deadline import Clock
from deployments.tenants.store.database import Database
from deployments.tenants.store.tables import usage, usage_batches
from deployments.tenants.usage.records import UsageRecord

_COUNTS = ("requests", "tokens", "cached_tokens")


class UsageLedger:
    """`clock` returns seconds since 1970."""

    def __init__(self, database: Database, clock: Clock = time.time) -> None:
        self._database = database
        self._clock = clock

    async def add(
        self, batch: str, used: Iterable[UsageRecord], settled: Sequence[str] = ()
    ) -> None:
        """Add the totals of the journal `batch` unless they were added before.

        `used` has each hour, tenant, stage and model once. The ids in `settled` are forgotten:
        their files are deleted, so they cannot come again.
        """
        async with self._database.write() as connection:
            dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
            row = {"id": batch, "added": self._clock()}
            first = dialect.insert(usage_batches).values(row).on_conflict_do_nothing()
            if await connection.scalar(first.returning(usage_batches.c.id)):
                names = [column.name for column in usage.columns]
                add = dialect.insert(usage)
                add = add.on_conflict_do_update(
                    index_elements=list(usage.primary_key.columns),
                    set_={name: usage.c[name] + add.excluded[name] for name in _COUNTS},
                )
                rows = [{name: getattr(one, name) for name in names} for one in used]
                if rows:
                    # In one order, in which writers of the same rows do not wait in a circle.
                    key = [column.name for column in usage.primary_key.columns]
                    rows.sort(key=lambda row: [row[name] for name in key])
                    await connection.execute(add, rows)
            if settled:
                await connection.execute(
                    usage_batches.delete().where(usage_batches.c.id.in_(settled))
                )

    async def totals(
        self, tenant: str | None, first_hour: int, last_hour: int
    ) -> list[UsageRecord]:
        """Return a total for each tenant, stage and model, or for one `tenant` only.

        Both hours are included. A record's `hour` is the first one with any usage.
        """
        columns = usage.c
        query = (
            select(
                func.min(columns.hour),
                columns.tenant,
                columns.stage,
                columns.model,
                *(func.sum(columns[name]) for name in _COUNTS),
            )
            .where(columns.hour >= first_hour, columns.hour <= last_hour)
            .group_by(columns.tenant, columns.stage, columns.model)
            .order_by(columns.tenant, columns.stage, columns.model)
        )
        if tenant is not None:
            query = query.where(columns.tenant == tenant)
        async with self._database.read() as connection:
            return [
                UsageRecord(*row[:4], *map(int, row[4:])) for row in await connection.execute(query)
            ]
