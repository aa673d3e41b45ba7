"""Shape choice: one trial's plan is chosen by the measured latencies of several."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

from ..spaces.plan import Plan
from ..spaces.space import Space
from .feasibility import Limits
from .trial import Trial


@dataclass
class _Round:
    own: Plan
    waiting: list[Plan]
    measured: list[Trial] = field(default_factory=list)


class ShapeChoice:
    """Lets trials measure the shapes of several plans before one of these is trained.

    To measure a latency takes a small part of the time of a training. What promised most by a prediction is often what
    was predicted to be too fast.
    """

    def __init__(
        self,
        space: Space,
        limits: Limits,
        choose: Callable[[Sequence[Trial]], int],
        take: Callable[[Trial], bool] = lambda trial: True,
    ) -> None:
        """Choose among plans of `space`.

        Args:
            space: The space.
            limits: What the study asks of a model.
            choose: Returns the number of the trial to go on with, of trials whose gates were measured.
            take: Takes a plan that was not the trial's own for it; returns False where another driver tries that.
        """
        self._space, self._limits, self._choose, self._take = space, limits, choose, take
        self._rounds: dict[int, _Round] = {}

    def open(self, trial: Trial, others: Sequence[Plan]) -> None:
        """Let a trial measure these plans after its own."""
        if others:
            self._rounds[trial.number] = _Round(trial.plan, list(others))

    def measured(self, trial: Trial, failed: bool = False) -> tuple[Trial, bool]:
        """Return what a trial whose gate ended goes on with.

        Args:
            trial: With what its gate measured.
            failed: Whether its shape could not be measured.

        Returns:
            The trial with the plan to measure next and True, or with the plan that was chosen and False.
        """
        known = self._rounds.get(trial.number)
        if known is None:
            return trial, False
        if not failed:
            known.measured.append(trial)
        if known.waiting:
            plan = self._space.repair(known.waiting.pop(0))
            return replace(trial, plan=plan, spec=self._space.spec(plan), gate={}, gate_bytes=0), True
        del self._rounds[trial.number]
        kept = [t for t in known.measured if not self._limits.surely_missed(t.gate, t.gate_bytes)] or known.measured
        if not kept:
            return trial, False
        while True:
            chosen = kept[self._choose(kept)]
            if chosen.plan == known.own or self._take(chosen) or len(kept) == 1:
                break
            kept = [other for other in kept if other is not chosen]
        return replace(trial, plan=chosen.plan, spec=chosen.spec, gate=chosen.gate, gate_bytes=chosen.gate_bytes), False
