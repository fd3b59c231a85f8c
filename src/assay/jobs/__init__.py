"""Long work: a queue in the database, and workers that take from it."""
