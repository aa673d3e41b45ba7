"""The front, and what people see of it."""
