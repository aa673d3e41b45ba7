"""Proposals led by a model of accuracy that is learned from everything measured so far."""
