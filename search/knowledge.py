"""What a driver knows of its study: the trials that ended, and who learns from them."""

from __future__ import annotations

from .promotion import Promotion
from .propose.proposal import Proposal
from .propose.proposer import Proposer
from .trainings import Trainings
from .trial import Trial, TrialState


class Knowledge:
    """The trials of a study that ended, and those who learn from them.

    Attributes:
        trials: Those that ended, in the order they did.
        trainings: Those that were done.
    """

    def __init__(
        self, trials: list[Trial], proposer: Proposer, promotion: Promotion, learn_from_gated: bool = False
    ) -> None:
        """Know these trials; nobody has learned from them yet.

        Args:
            trials: Those that ended before.
            proposer: Learns from each.
            promotion: Knows what a trial is worth, and the limits.
            learn_from_gated: Whether samplers learn by how much a plan missed the budget.
        """
        self.trials, self.trainings = trials, Trainings()
        self._proposer, self._promotion, self._learn_from_gated = proposer, promotion, learn_from_gated

    def remember(self, trial: Trial, proposal: Proposal | None = None) -> None:
        """Let all learn from a trial that ended or waits."""
        self.trainings.remember(trial)
        self.learn(trial, proposal)

    def add(self, trial: Trial, proposal: Proposal | None = None) -> None:
        """Take in a trial that has ended.

        Args:
            trial: The trial.
            proposal: What it began with, where this run proposed it.
        """
        self.trials.append(trial)
        self.remember(trial, proposal)

    def hear(self, trial: Trial) -> None:
        """Take in a trial that another driver of the study has ended."""
        self._proposer.note_others([trial])
        if trial.gate:
            self._proposer.measured(trial)
        self.add(trial)

    def learn(self, trial: Trial, proposal: Proposal | None = None) -> None:
        """Tell the proposer. What waits or was stopped counts with what may become of it; failures are forgotten."""
        limits = self._promotion.limits
        told = trial.state is TrialState.GATED and self._learn_from_gated and bool(trial.gate)
        violation = limits.violation(trial.gate, trial.gate_bytes) if told else None
        self._proposer.learn(trial, self._promotion.costs(trial, self.trials), violation, proposal)
