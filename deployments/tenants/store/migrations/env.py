"""Runs migrations in the transaction that `database` holds open."""

from alembic import context

from deployments.tenants.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the transaction is the caller's, who has locked the rest out
)
context.run_migrations()
