"""Jobs: the steps of a trial, as they travel to executors and back."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from ...evaluators.measurement import Latency, Measurement
from ...spaces.spec import StudentSpec
from ...spaces.target import PerTarget
from ..trial import WarmStart

Step = Literal["gate", "look", "rung", "build"]
DOING: Mapping[Step, str] = {
    "gate": "measuring its shape",
    "look": "looking at it untrained",
    "build": "building and measuring its file",
}


@dataclass(frozen=True)
class Job:
    """One step of one trial.

    Attributes:
        number: Of the trial.
        spec: What its student is made by.
        step: "gate" times the shape, "look" looks at the untrained student, "rung" trains to the end of that rung and
            looks, "build" makes the final files and measures them.
        rung: Which rung, 0 for the first.
        warm_start: Whose weights the student begins with; at a look, whose it may begin with if that is better than
            the teacher's.
        seed: Of the order of the data and of dropout while it is taught: the trial's, whatever later runs have.
        apart: Whether to do it in a process of its own, because a process has died of it before.
    """

    number: int
    spec: StudentSpec
    step: Step
    rung: int = 0
    warm_start: WarmStart | None = None
    seed: int = 0
    apart: bool = False

    def words(self, rungs: int) -> str:
        """Return what is being done, for a display. rungs: of a full recovery."""
        if self.step == "rung":
            return f"training, rung {self.rung + 1} of {rungs}"
        return DOING[self.step]


@dataclass(frozen=True)
class JobResult:
    """What came of a job. Exactly one of the results is there, or `failure` says in one line why none is.

    Attributes:
        latencies: Of a shape, after a gate.
        size_bytes: Of its largest file, after a gate.
        accuracy: Metric of the student, after a look or a rung; None where it is not defined.
        train_bytes: Of memory that a step of its training held, after a rung; None where nothing was trained.
        warm: After a look, whether the warm start is the better one.
        measured: What the files are worth, after a build.
        failure: Why the trial cannot go on.
        stopped: Whether the job was asked to stop; it can be done again.
        seconds: Time spent, by kind of work.
    """

    latencies: PerTarget[Latency] = field(default_factory=dict)
    size_bytes: int = 0
    accuracy: float | None = None
    train_bytes: int | None = None
    warm: bool = False
    measured: PerTarget[Measurement] = field(default_factory=dict)
    failure: str = ""
    stopped: bool = False
    seconds: Mapping[str, float] = field(default_factory=dict)


class Clock:
    """Adds up seconds by kind of work.

    Attributes:
        seconds: Kind -> seconds.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def time(self, kind: str) -> Iterator[None]:
        """Add the time that passes meanwhile to this kind."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[kind] = self.seconds.get(kind, 0.0) + time.perf_counter() - start
