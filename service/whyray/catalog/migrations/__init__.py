"""Alembic's environment: every schema that a catalog has ever had, in order."""
