"""The time a method has."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """Counts seconds from `start`. As a function, it tells whether its time is over: the `stop` of a study.

    Attributes:
        limit_s: The time.
    """

    limit_s: float
    _zero_s: float | None = None

    def start(self, head_start_s: float = 0.0) -> None:
        """Set zero to now, or to so many seconds from now."""
        self._zero_s = time.monotonic() + head_start_s

    @property
    def seconds(self) -> float:
        """Seconds since zero; 0 before that, and before `start`."""
        return 0.0 if self._zero_s is None else max(0.0, time.monotonic() - self._zero_s)

    @property
    def end_s(self) -> float | None:
        """When the time is over, as `time.monotonic` has it; None before `start`."""
        return None if self._zero_s is None else self._zero_s + self.limit_s

    def __call__(self) -> bool:
        """Tell whether the time is over."""
        return self.seconds > self.limit_s
