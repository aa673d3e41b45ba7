"""Faults on purpose: a search is killed, starved and confused, and its folder is held against what it said before."""
