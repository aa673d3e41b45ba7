"""What proposers hand over: proposals, and the arm that samples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...spaces.plan import Plan
from ...spaces.spec import StudentSpec
from ...spaces.variables import Value
from ..trial import Origin, Trial, TrialState
from .by_hand import Design
from .encoding import Encoding
from .samplers import Sampler


@dataclass(frozen=True)
class Arm:
    """An encoding with a sampler over its numbers.

    Attributes:
        encoding: Describes plans.
        sampler: Draws its numbers.
    """

    encoding: Encoding
    sampler: Sampler

    def draw(self) -> Proposal:
        """Return what the sampler draws."""
        ticket, drawn = self.sampler.ask()
        return Proposal(self.encoding.decode(drawn), Origin.SEARCH, "search", drawn, ticket)

    def give_back(self, proposal: Proposal) -> None:
        """Take back what was drawn and is not tried."""
        assert proposal.latent is not None
        self.sampler.reject(-1, proposal.latent, proposal.ticket)

    def learn(
        self, trial: Trial, costs: Sequence[float] | None, violation: float | None, proposal: Proposal | None
    ) -> None:
        """Let the sampler learn what became of a trial; see `Proposer.learn`."""
        # numbers of an earlier run that knew less do not go with those of today, nor those of another arm
        own = trial.latent is not None and trial.latent.keys() == self.encoding.latent().keys()
        latent = trial.latent if own else self.encoding.encode(trial.plan)
        ticket = proposal.ticket if proposal is not None and own else None
        if latent is not None and costs is not None:
            self.sampler.tell(trial.number, latent, costs, ticket)
        elif latent is not None and trial.state in (TrialState.GATED, TrialState.FAILED):
            self.sampler.reject(trial.number, latent, ticket, violation)


@dataclass(frozen=True)
class Proposal:
    """A plan to try.

    Attributes:
        plan: The plan.
        origin: Who proposed it.
        label: What users see.
        latent: The numbers that it was decoded from, where it was.
        ticket: Of the arm's sampler, where that drew the plan.
        number: Of the trial that it goes on with, if any.
        technique: What it is made by hand to show, where it is.
        after: Number of the finished trial whose weights it begins with, None for the teacher's.
        deaths: Processes that died of that trial so far.
        others: Plans that may be tried in its place: the measured latencies of all decide.
    """

    plan: Plan
    origin: Origin
    label: str
    latent: Mapping[str, Value] | None
    ticket: int | None = None
    number: int | None = None
    technique: str = ""
    after: int | None = None
    deaths: int = 0
    others: tuple[Plan, ...] = ()

    def trial(self, number: int, plan: Plan, spec: StudentSpec, seed: int) -> Trial:
        """Return the trial that begins with this proposal.

        Args:
            number: Of the trial.
            plan: The proposal's, as the space of today has it.
            spec: What the plan does to the teacher.
            seed: Of the search.
        """
        return Trial(
            number,
            plan,
            spec,
            self.origin,
            self.label,
            latent=self.latent,
            seed=seed,
            technique=self.technique,
            after=self.after,
            deaths=self.deaths,
        )

    @classmethod
    def of(cls, design: Design) -> Proposal:
        """Return the proposal of a design."""
        return cls(
            design.plan,
            design.origin,
            design.label,
            design.latent,
            technique=design.technique,
            after=design.after,
        )

    @classmethod
    def again(cls, trial: Trial) -> Proposal:
        """Return the proposal that goes on with a trial that was interrupted."""
        return cls(
            trial.plan,
            trial.origin,
            trial.label,
            trial.latent,
            number=trial.number,
            technique=trial.technique,
            after=trial.after,
            deaths=trial.deaths,
        )
