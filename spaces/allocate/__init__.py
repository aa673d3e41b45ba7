"""The exact solver: the plan of least harm within a latency."""
