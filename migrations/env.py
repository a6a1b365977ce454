"""Alembic's entry: runs on the connection that app.store.migrate opened."""

from alembic import context

from app.store.migrate import run_env

run_env(context)
