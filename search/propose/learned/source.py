"""The learned model as a source of proposals: what it is told of trials, and what it proposes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from ....spaces.plan import Plan
from ...objectives import is_latency, latency_of
from ...trial import Origin, Trial
from ..proposal import Proposal
from .known import Known
from .learned import LearnedProposals

SHARED = "shared training"
"""The label of plans that take over a training that was done."""
SIZES_OF_FILES = ("size_bytes", "compressed_bytes")


def price_of(objectives: Sequence[str]) -> str | None:
    """Return the objective that a better metric is paid with, as the model looks at it; None where there is none.

    Args:
        objectives: Names.

    Returns:
        The first latency, else a size of files.
    """
    latency = next(filter(is_latency, objectives), None)
    return latency or next((name for name in SIZES_OF_FILES if name in objectives), None)


class LearnedSource:
    """Tells a learned model of trials, and turns what it would try into proposals."""

    def __init__(self, model: LearnedProposals, objectives: Sequence[str]) -> None:
        """Tell `model` of these objectives.

        Args:
            model: Learns and proposes.
            objectives: Their names, "accuracy" among them.

        Raises:
            ValueError: The model cannot learn from these objectives.
        """
        price = price_of(objectives)
        if price is None or "accuracy" not in objectives:
            raise ValueError(f"objectives {tuple(objectives)}; give accuracy, and a latency or a size")
        self._model, self._price = model, price
        self._metric_at, self._price_at = list(objectives).index("accuracy"), list(objectives).index(price)

    @property
    def ready(self) -> bool:
        """Whether there is enough to learn from."""
        return self._model.ready

    @property
    def guide_fits(self) -> bool:
        """Whether what was known before any training orders what was trained; True while little is known."""
        return self._model.guide_fits

    def measured(self, trial: Trial) -> None:
        """Learn what the gate of a trial measured."""
        if (paid := self._paid(trial)) is not None:
            self._model.measured(trial.plan, paid)

    def learn(self, trial: Trial, costs: Sequence[float] | None) -> tuple[float, float] | None:
        """Learn what became of a trial.

        Args:
            trial: The trial.
            costs: Its objectives, lower is better; None while nothing is known of them.

        Returns:
            What it pays, and the cost of its metric; None where nothing is known.
        """
        if costs is None or not all(map(math.isfinite, costs)):
            self._model.forget(trial.number, trial.plan if trial.state.ended else None)
            if trial.label == SHARED and trial.state.ended:
                self._model.failed(trial.plan)
            return None
        metric, paid = costs[self._metric_at], costs[self._price_at]
        self._model.tell(trial.number, Known(trial.plan, metric, paid, trial.spec.recovery is not None))
        return paid, metric

    def propose(self, is_new: Callable[[Proposal], bool]) -> Proposal | None:
        """Return what the model would try next, None where nothing new promises anything.

        Args:
            is_new: Tells whether a proposal may be made.
        """
        plans = self._model.propose(lambda plan: is_new(Proposal(plan, Origin.LEARNED, "learned", None)))
        if not plans:
            return None
        others = () if self._price == "compressed_bytes" else tuple(plans[1:])  # no gate tells what that is
        return Proposal(plans[0], Origin.LEARNED, "learned", None, others=others)

    def gained(self, trial: Trial, gain: float) -> None:
        """Learn what hypervolume a finished trial added to the front."""
        if trial.spec.recovery is not None and trial.after is None:
            self._model.gained(trial.plan, sum(trial.seconds.values()), gain)

    def others_try(self, plans: Sequence[Plan]) -> None:
        """Take in the plans that other drivers of the study try now."""
        self._model.others_try(plans)

    def share(self, is_new: Callable[[Proposal], bool], late: bool) -> Proposal | None:
        """Return a plan that shares a training that was done, where that promises more for its price than a training.

        Args:
            is_new: Tells whether a proposal may be made.
            late: Whether there is no time for a training.
        """
        found = self._model.share(lambda plan: is_new(Proposal(plan, Origin.LEARNED, SHARED, None)), late)
        return None if found is None else Proposal(found, Origin.LEARNED, SHARED, None)

    def choose(self, trials: Sequence[Trial]) -> int:
        """Return the number of the trial to go on with, of trials with measured shapes."""
        paid = [self._paid(trial) for trial in trials]
        return self._model.best([(t.plan, p) for t, p in zip(trials, paid, strict=True) if p is not None])

    def _paid(self, trial: Trial) -> float | None:
        """Return what the gate of a trial measured of the price, None where a gate does not tell."""
        if is_latency(self._price):
            return latency_of(self._price, trial.gate).p50_ms if trial.gate else None
        return float(trial.gate_bytes) if self._price == "size_bytes" and trial.gate_bytes else None
