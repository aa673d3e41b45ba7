"""The search beside what a user would run instead, on a real network, for the same time on the same machine."""
