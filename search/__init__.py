"""How the front is found and kept."""
