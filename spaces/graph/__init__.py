"""Networks as graphs of operators: captured once, walked for what must shrink together."""
