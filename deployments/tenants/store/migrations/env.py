"""Alembic's environment: migrations run in the transaction that `database` holds open."""

from alembic import context

from deployments.tenants.store.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction holds the migration lock
)
context.run_migrations()
