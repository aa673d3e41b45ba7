"""Machines that nothing can be said of yet: they are looked at again a while later, and not for ever."""

from __future__ import annotations

import time

PATIENCE_S = 300.0
"""Seconds from the first look at a machine until one that tells nothing decides; workers wait longer than that."""
PAUSE_S = 20.0
"""Seconds between two looks at one machine: each takes some, on it and on the first one."""


class Retries:
    """When a machine may be looked at again."""

    def __init__(self) -> None:
        """Begin without any."""
        self._first_s: dict[str, float] = {}
        self._next_s: dict[str, float] = {}

    def is_due(self, node: str) -> bool:
        """Tell whether a machine, by Ray's own name for it, may be looked at now."""
        return time.monotonic() >= self._next_s.get(node, 0.0)

    def told_nothing(self, node: str) -> bool:
        """Note that a look told nothing; return whether there will be another one."""
        now_s = time.monotonic()
        first_s = self._first_s.setdefault(node, now_s)
        self._next_s[node] = now_s + PAUSE_S
        return now_s - first_s < PATIENCE_S

    def is_first(self, node: str) -> bool:
        """Tell whether no look at a machine has told nothing yet."""
        return node not in self._first_s
