"""A trial: a plan, its state and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum

from ..evaluators.measurement import Latency, Measurement
from ..spaces.plan import Plan
from ..spaces.spec import StudentSpec
from ..spaces.target import PerTarget
from ..spaces.variables import Value


class Origin(StrEnum):
    """Who proposed a plan."""

    TEACHER = "teacher"
    BY_HAND = "by hand"
    DESIGN = "design"
    SEARCH = "search"
    MOVE = "move"
    CROSS = "cross"
    LEARNED = "learned"

    @property
    def by_hand(self) -> bool:
        """Whether it is what a user would do without a search."""
        return self in (Origin.TEACHER, Origin.BY_HAND)


class TrialState(StrEnum):
    """Where a trial stands."""

    RUNNING = "running"
    WAITING = "waiting"
    GATED = "gated"
    FINISHED = "finished"
    FAILED = "failed"

    @property
    def ended(self) -> bool:
        """Whether nothing follows."""
        return not TRANSITIONS[self]


TRANSITIONS: Mapping[TrialState, frozenset[TrialState]] = {
    TrialState.RUNNING: frozenset(
        {TrialState.RUNNING, TrialState.WAITING, TrialState.GATED, TrialState.FINISHED, TrialState.FAILED}
    ),
    TrialState.WAITING: frozenset({TrialState.RUNNING}),
    TrialState.GATED: frozenset(),
    TrialState.FINISHED: frozenset(),
    TrialState.FAILED: frozenset(),
}
"""What may follow on what. A trial is gated when its untrained file already misses the budget."""


@dataclass(frozen=True)
class WarmStart:
    """Whose trained weights a student begins with instead of the teacher's.

    Attributes:
        number: Number of a finished trial.
        spec: What its student was made by.
        checkpoint: Name of its last checkpoint.
    """

    number: int
    spec: StudentSpec
    checkpoint: str


@dataclass(frozen=True)
class Trial:
    """One trial, running, waiting at a rung, or ended. Never changed: each step gives a new one.

    Attributes:
        number: From 1, in the order of their beginnings.
        plan: What was decided.
        spec: What the plan does to the teacher.
        origin: Who proposed it.
        label: What users see: "teacher int8", "uniform 50%", "move of 10".
        state: Where it stands.
        latent: The numbers that the plan was decoded from, where it was.
        gate: Latency of its shape, before training.
        gate_bytes: Size of its largest file, before training.
        first_look: Metric before any training.
        warm_start: Whose weights it began with, None for the teacher's.
        rungs: Metric of the student on the validation split after each rung.
        measured: What its files are worth; empty before they are built.
        reason: Why it ended, where it did not finish.
        seconds: Time spent, by kind of work: "training", "measuring", "building".
        seed: Of the search.
        ended_s: Seconds of searching, over all runs of the study, after which it ended.
        technique: What it was made by hand to show, where it was; see `technique_kinds`.
        after: Number of the finished trial whose weights it begins with, where it is the second step of a sequence.
        train_bytes: Of memory that a step of its training held at most: weights, gradients, the optimizer's own, and
            what the forward pass keeps; None where another trial's training is its own, or none.
        deaths: Processes that died, or may have died, of the job that follows on what is known of it.
    """

    number: int
    plan: Plan
    spec: StudentSpec
    origin: Origin
    label: str
    state: TrialState = TrialState.RUNNING
    latent: Mapping[str, Value] | None = None
    gate: PerTarget[Latency] = field(default_factory=dict)
    gate_bytes: int = 0
    first_look: float | None = None
    warm_start: WarmStart | None = None
    rungs: tuple[float, ...] = ()
    measured: PerTarget[Measurement] = field(default_factory=dict)
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    ended_s: float | None = None
    technique: str = ""
    after: int | None = None
    train_bytes: int | None = None
    deaths: int = 0

    @property
    def by_hand(self) -> bool:
        """Whether it is what a user would do without a search."""
        return self.origin.by_hand

    @property
    def to_its_end(self) -> bool:
        """Whether it is trained to its end whatever others do.

        Such a trial stands for a whole region, and the front of a short study is made of such.
        """
        return self.by_hand or self.origin is Origin.DESIGN

    @property
    def finished(self) -> bool:
        """Whether its files were built and measured."""
        return self.state is TrialState.FINISHED

    def moved(self, state: TrialState) -> Trial:
        """Return the trial in its next state.

        Raises:
            ValueError: That state cannot follow on this one.
        """
        if state not in TRANSITIONS[self.state]:
            raise ValueError(f"trial {self.number} cannot go from {self.state} to {state}")
        return replace(self, state=state)

    def spent(self, seconds: Mapping[str, float]) -> Trial:
        """Return the trial with these seconds added."""
        total = {k: self.seconds.get(k, 0.0) + seconds.get(k, 0.0) for k in {*self.seconds, *seconds}}
        return replace(self, seconds=total)
