"""Timing of files in fresh processes, and the statistics of it."""
