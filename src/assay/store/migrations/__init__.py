"""Alembic's migrations of the store. They only go up: the way back is a backup."""
