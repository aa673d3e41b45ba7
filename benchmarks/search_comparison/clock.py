"""The time a method has."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass
class Clock:
    """Counts seconds from `start`. As a function, whether `limit_s` of them are over: the `stop` of a study."""

    limit_s: float
    _zero_s: float | None = None

    def start(self, head_start_s: float = 0.0) -> None:
        """Zero is now; or, with a head start, as many seconds from now."""
        self._zero_s = time.monotonic() + head_start_s

    @property
    def seconds(self) -> float:
        """Since zero; before that, and before `start`, 0."""
        return 0.0 if self._zero_s is None else max(0.0, time.monotonic() - self._zero_s)

    @property
    def end_s(self) -> float | None:
        """When the limit is over, as `time.monotonic` has it; None before `start`."""
        return None if self._zero_s is None else self._zero_s + self.limit_s

    def __call__(self) -> bool:
        return self.seconds > self.limit_s
