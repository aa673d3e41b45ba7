"""Plans next to plans: moves, exchanges, crossovers."""
