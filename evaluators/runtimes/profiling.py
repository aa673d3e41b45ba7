"""What some runtimes can do beside: say how their time is shared out over the operators of a file."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from numpy.typing import NDArray

from ...spaces.target import Target
from .base import Runtime

WARM_UP = 6
"""Inferences before those that count: the first ones find and fill their buffers."""
FEWEST, MOST, SECONDS = 5, 40, 0.4
"""Inferences that count: at least and at most, and the seconds after which there are no more."""


@dataclass(frozen=True)
class OperatorTime:
    """One operator of the graph that really runs, and its time.

    Attributes:
        name: As the runtime calls it.
        operator: Its type.
        time_ms: Time of one inference that is spent in it, in runs that other work left alone. Profiling costs time of
            its own, so that only its part of the sum over all operators means something.
        layers: Names of the layers that it runs: one, several where the runtime joined them, or none.
    """

    name: str
    operator: str
    time_ms: float
    layers: tuple[str, ...] = ()


@runtime_checkable
class ProfilingRuntime(Runtime, Protocol):
    """A runtime that offers profiles. Others do without: nothing but a report's shares follows from a profile."""

    def profile(
        self, path: Path, target: Target, arrays: tuple[NDArray[Any], ...], layers: Mapping[str, str]
    ) -> tuple[OperatorTime, ...]:
        """Run a file a few dozen times, and return the operators that took time.

        Args:
            path: The file.
            target: Where it runs, with the same options as for accuracy and latency.
            arrays: The inputs, [target.batch, ...] each; they are turned into the types that the file takes.
            layers: Node name -> layer name, as in the `BuildRequest` that the file was built from. A runtime may find
                layers in other ways too, but none that is not among these.

        Returns:
            The operators; none where the runtime has no profile on this device.

        Raises:
            MeasurementError: The file is missing, corrupt, or cannot be run.
            RuntimeUnavailable: The file would not run on the device that was asked for.
        """
        ...


def run_repeatedly(run: Callable[[], object], count: int | None = None) -> int:
    """Run a file again and again, and return how many times.

    Args:
        run: Runs it once.
        count: How many times; None for as many as a profile needs.
    """
    ends, done = time.monotonic() + SECONDS, 0
    while done < (count or MOST) and (count is not None or done < FEWEST or time.monotonic() < ends):
        run()
        done += 1
    return done
