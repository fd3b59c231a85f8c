"""Who may ask, and what it costs: keys, people, prices, budgets, reservations, usage, disk."""
