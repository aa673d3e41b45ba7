"""A machine that is not there, and says how long files take on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from autocompress.evaluators.agreement import PROCESSES
from autocompress.evaluators.timing.host import HERE, TimingHost
from autocompress.evaluators.timing.processes import ModelTimes, ProcessTimes, TimingRequest
from autocompress.spaces.target import Target


@dataclass(frozen=True)
class Elsewhere:
    """A machine on which the teacher takes 2 ms, and any other file 1 ms.

    Attributes:
        speed: How many times as fast it is in all.
        second: How many times as long every file but the teacher takes as on others.
        busy: How many times as long it takes while other work runs, the first time that this machine is asked.
    """

    name: str = "board-3"
    asked: list[TimingRequest] = field(default_factory=list)
    speed: float = 1.0
    second: float = 1.0
    busy: float = 1.0
    device: str = "another CPU"

    def time(self, request: TimingRequest) -> ProcessTimes:
        self.asked.append(request)
        random = np.random.default_rng(len(self.asked))

        def times(ms: float) -> ModelTimes:
            wall = ms * (1 + 0.01 * np.abs(random.standard_normal((12, 5))))
            return ModelTimes(wall, wall, np.zeros(12), 1.0, 1, 1.0)

        second = self.second * (self.busy if len(self.asked) <= PROCESSES else 1.0)
        taken = (2.0 if file.path.name == "teacher.onnx" else second for file in request.files)
        return ProcessTimes(tuple(times(ms / self.speed) for ms in taken))

    def conditions(self, target: Target) -> dict[str, Any]:
        return {**HERE.conditions(target), "host": self.name, "device_name": self.device}

    @contextmanager
    def chosen(self) -> Iterator[TimingHost]:
        yield self
