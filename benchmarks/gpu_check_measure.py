"""What the parts of `gpu_check` share: a part's time and rows, taking turns, and a median with its interval."""

from __future__ import annotations

import contextlib
import json
import math
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FEWEST_ROUNDS = 5
COMPILE_SECONDS = {"cuda": 10.0, "cpu": 25.0}
"""Nothing is compiled when less than this is left of a part's time."""


@dataclass
class Part:
    """One part of the check while it runs. Rows go to a file at once, so that a part that is killed keeps them.

    Attributes:
        device: "cuda" or "cpu".
        seconds: Time for measuring. A part that has used it up leaves the rest out, and says so.
        limit: Seconds after which the part is ended from outside.
        repeats: Rounds of each comparison.
        folder: Where files may be put.
        rows: The file that rows are added to, one JSON object a line.
        data: Folder of `cifar10-train.parquet`; None for synthetic images.
        weights: Weights of ResNet-20; None for random ones.
    """

    device: str
    seconds: float
    limit: float
    repeats: int
    folder: Path
    rows: Path
    data: Path | None = None
    weights: Path | None = None
    started: float = field(default_factory=time.monotonic)

    @property
    def on_gpu(self) -> bool:
        """Whether this runs on a GPU."""
        return self.device == "cuda"

    @property
    def seconds_left(self) -> float:
        """Seconds left for measuring; below zero when they are used up."""
        return self.seconds - (time.monotonic() - self.started)

    @property
    def can_compile(self) -> bool:
        """Whether there is time to compile one more network."""
        return self.seconds_left >= COMPILE_SECONDS[self.device]

    def row(self, **cells: Any) -> None:
        """Add a row to the part's table. Keys are the columns, with "_" for a space."""
        self._write({"row": {name.replace("_", " "): str(value) for name, value in cells.items()}})

    def note(self, text: str) -> None:
        """Add a line below the part's table."""
        self._write({"note": text})

    def failed(self, what: str, error: BaseException | str) -> None:
        """Say that something does not work; the check then ends with a failure."""
        said = error if isinstance(error, str) else f"{type(error).__name__}: {error}"
        self._write({"failed": f"{what}: {' '.join(said.split())[:300]}"})

    @contextlib.contextmanager
    def caught(self, what: str) -> Iterator[None]:
        """Meanwhile an error is told as a failure of `what`, and the part goes on."""
        try:
            yield
        except Exception as error:
            self.failed(what, error)

    def synchronize(self) -> None:
        """Wait for the GPU."""
        if self.on_gpu:
            import torch

            torch.cuda.synchronize()

    def _write(self, entry: Mapping[str, Any]) -> None:
        with self.rows.open("a") as file:
            file.write(json.dumps(entry) + "\n")


def in_turns(part: Part, calls: Mapping[str, Callable[[], Any]]) -> dict[str, list[Any]]:
    """Call everything once a round, in an order shuffled anew, so that what changes slowly falls on all alike.

    Args:
        part: Says how many rounds, and when its time is up; then it stops, but not before FEWEST_ROUNDS.
        calls: What to call, by name. One that raises is told as a failure and left out from then on.

    Returns:
        What each of them gave, one result a round.
    """
    order = random.Random(0)
    given: dict[str, list[Any]] = {name: [] for name in calls}
    for done in range(part.repeats):
        if done >= FEWEST_ROUNDS and part.seconds_left < 0:
            break
        for name in order.sample(list(given), len(given)):
            try:
                given[name].append(calls[name]())
            except Exception as error:
                part.failed(name, error)
                del given[name]
    return given


def median_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return the median and the 95 % interval of the sign test, which assumes nothing about the distribution.

    It is the narrowest pair of order statistics that holds the true median with 95 % or more. Below six values there
    is no such pair; the least and the largest stand for it.
    """
    ordered, outside, low = sorted(values), 0.0, 0
    for i in range(len(ordered) // 2):
        outside += 2 * math.comb(len(ordered), i) / 2 ** len(ordered)
        if outside > 0.05:
            break
        low = i
    return statistics.median(ordered), ordered[low], ordered[-1 - low]


def shown(values: Sequence[float], digits: str = ".3g") -> str:
    """Return the median with its interval, as words."""
    middle, low, high = median_interval(values)
    return f"{middle:{digits}} ({low:{digits}} to {high:{digits}})"


def ratios(values: Sequence[float], base: Sequence[float]) -> str:
    """Return the ratio of each round to the same round of `base`, as `shown`."""
    return shown([a / b for a, b in zip(values, base, strict=False)], ".2f")
