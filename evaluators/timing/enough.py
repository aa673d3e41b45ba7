"""When a timing process has seen enough."""

from __future__ import annotations

from collections.abc import Callable

from .processes import TimingRequest

FEWEST_ROUNDS = 4
"""Rounds at least, when the time is up."""
MOST_TIMES_AS_LONG = 4
"""So many times the seconds that were asked for may pass for the sake of the calls that a percentile takes."""


def is_enough(
    request: TimingRequest, rounds: int, calls: int, elapsed_s: float, half_width: Callable[[], float]
) -> bool:
    """Tell whether a process stops.

    Args:
        request: What was asked for.
        rounds: Rounds so far.
        calls: Timed inferences so far, of the file with the fewest.
        elapsed_s: Of warm-up and rounds.
        half_width: Returns half of the widest 95 % interval so far.
    """
    if calls < request.min_calls and elapsed_s < MOST_TIMES_AS_LONG * request.max_seconds:
        return False
    if rounds >= request.max_rounds:
        return True
    if elapsed_s > request.max_seconds and rounds >= min(FEWEST_ROUNDS, request.min_rounds):
        return True
    return rounds >= request.min_rounds and rounds % 2 == 0 and half_width() <= request.precision
