"""What the workers of a search do now: who works where."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

OPENING = "opening the study"
IDLE = "nothing to do"


@dataclass(frozen=True)
class WorkerState:
    """What one worker does now.

    Attributes:
        host: Name of its machine.
        number: Of the worker, from 1 on each machine.
        doing: In a few words.
        since_s: When it began that, in seconds since 1970.
        trial: Number of the trial that it works for; None where it works for none.
        process: Its process id on its machine; None where that is not known.
    """

    host: str
    number: int
    doing: str
    since_s: float
    trial: int | None = None
    process: int | None = None


def by_host(states: Iterable[WorkerState]) -> list[WorkerState]:
    """Return states in the order of their machines' names, and of their numbers there."""
    return sorted(states, key=lambda state: (state.host, state.number))
