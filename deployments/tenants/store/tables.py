"""The control store's tables, for queries. Times are seconds since 1970.

`migrations` creates them; a test checks that both agree.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()

# SQLite autoincrements only a column of exactly the type INTEGER.
_NUMBER = BigInteger().with_variant(Integer(), "sqlite")


def _changed() -> Column[int]:
    """The revision of a row's last change, so that a Router reads only what is new to it."""
    return Column("changed", BigInteger, nullable=False, server_default="0", index=True)


# One row: the number of changes to tenants and keys.
revision = Table(
    "revision",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("number", BigInteger, nullable=False),
)

tenants = Table(
    "tenants",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("plan", String(63), nullable=False),
    Column("created", Double, nullable=False),
    Column("disabled", Boolean, nullable=False),
    _changed(),
)

keys = Table(
    "keys",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("tenant", ForeignKey("tenants.id"), nullable=False, index=True),
    Column("secret_sha256", String(64), nullable=False),
    Column("last4", String(4), nullable=False),
    Column("scopes", String(63), nullable=False),  # separated by commas
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    _changed(),
)

audit = Table(
    "audit",
    metadata,
    Column("id", _NUMBER, primary_key=True, autoincrement=True),
    Column("at", Double, nullable=False, index=True),
    Column("actor", String(63), nullable=False),  # a key's id
    Column("action", String(63), nullable=False),
    Column("subject", String(63), nullable=False),  # a tenant's or a key's id
    Column("detail", Text, nullable=False),  # JSON
)

usage = Table(
    "usage",
    metadata,
    Column("hour", Integer, primary_key=True),  # hours since 1970
    Column("tenant", String(63), primary_key=True),
    Column("stage", String(63), primary_key=True),
    Column("model", String(255), primary_key=True),
    Column("requests", BigInteger, nullable=False),
    Column("tokens", BigInteger, nullable=False),
    Column("cached_tokens", BigInteger, nullable=False),
    Index("ix_usage_tenant_hour", "tenant", "hour"),
)

# Journals that are added to `usage` but may still be on a Router's disk: added once only.
usage_batches = Table(
    "usage_batches",
    metadata,
    Column("id", String(63), primary_key=True),
    Column("added", Double, nullable=False, server_default="0"),
)
