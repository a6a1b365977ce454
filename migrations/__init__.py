"""Alembic: the environment and, under `versions`, the steps that lead to the schema the models describe."""
