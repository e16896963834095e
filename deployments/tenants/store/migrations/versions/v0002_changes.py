"""The revision at which a tenant or key changed last, and the time at which a journal was added."""

import time

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for table in ("tenants", "keys"):
        changed = sa.Column("changed", sa.BigInteger, nullable=False, server_default="0")
        op.add_column(table, changed)
        op.create_index(f"ix_{table}_changed", table, ["changed"])
    op.create_index("ix_audit_at", "audit", ["at"])
    added = sa.Column("added", sa.Double, nullable=False, server_default="0")
    op.add_column("usage_batches", added)
    op.execute(sa.text("UPDATE usage_batches SET added = :now").bindparams(now=time.time()))
