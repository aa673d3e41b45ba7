"""What one would do by hand with the time that the search had: each technique, and sequences of them, over a grid.

A search is compared with what its user would else have spent the time on. Whoever prunes and then quantizes tries
several widths and learning rates too. So each sequence of techniques goes on with its grid until it has had as many
seconds of this machine as the search itself, and its best model counts. Techniques alone have one setting each, at the
same width. A student of a sequence has as many steps of training as one of the search, in each of its trainings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cached_property

from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.spec import StudentSpec
from ...spaces.surrogates import Surrogates
from ...spaces.target import PerTarget
from ..feasibility import Limits
from ..technique_kinds.context import DesignContext
from ..technique_kinds.facts import SpaceFacts
from ..technique_kinds.kind import STEP_OF, Steps, TechniqueKind
from ..technique_kinds.registry import TECHNIQUES
from ..techniques import Coverage, Trainings, technique_of
from ..trial import Origin, Trial
from .by_hand import Design, by_hand

TRIES = 3
"""So many settings of a technique are tried at least, while none meets the budget."""


class Baselines:
    """Proposes the techniques that a user asked for, one after the other."""

    def __init__(
        self,
        space: Space,
        surrogates: Surrogates,
        budgets: PerTarget[float],
        wanted: Sequence[TechniqueKind],
        limits: Limits,
    ) -> None:
        """Begin with nothing tried.

        Args:
            space: The space.
            surrogates: What is known of it.
            budgets: Median latency (ms) that usually meets the budget, of the targets that have one.
            wanted: The techniques.
            limits: What is held against a latency once it was measured.
        """
        self._space, self._surrogates, self._budgets, self._limits = space, surrogates, budgets, limits
        self._facts = SpaceFacts.of(space)
        self._wanted = [kind for kind in TECHNIQUES if kind in wanted and not kind.why_not(self._facts)]
        predicted = bool(budgets) and set(budgets) <= set(surrogates.latency)
        self._context = DesignContext(space, self._fits if predicted else None)
        self._ended: list[Trial] = []
        self._waiting: dict[int, Trial] = {}
        self._begun: set[tuple[int | None, str]] = set()
        self._over: set[tuple[int | None, str]] = set()
        self._first: tuple[Design | None] | None = None
        self._sorted: dict[TechniqueKind | None, list[Trial]] | None = None

    def note(self, trial: Trial) -> None:
        """Take in a trial that ended or waits."""
        self._begun.add((trial.after, trial.spec.key()))
        self._first = None
        if not trial.state.ended:
            self._waiting[trial.number] = trial
            return
        self._waiting.pop(trial.number, None)
        self._ended.append(trial)
        self._over.add((trial.after, trial.spec.key()))
        self._sorted = None

    def begun(self, plan: Plan, after: int | None) -> None:
        """Take in what is being tried.

        Args:
            plan: The plan.
            after: Number of the trial whose weights it begins with, None for the teacher's.
        """
        self._begun.add((after, self._space.spec(plan).key()))
        self._first = None

    def has_begun(self, plan: Plan) -> bool:
        """Tell whether the student of a plan was tried, or is, with the teacher's weights."""
        return (None, self._space.spec(plan).key()) in self._begun

    @property
    def missing(self) -> list[TechniqueKind]:
        """The techniques that have no model yet, or none within the budget while that may still be found."""
        return [kind for kind in self._wanted if self._is_missing(kind)]

    def first(self) -> Design | None:
        """Return the next trial of a technique that is missing; None where there is none to begin now."""
        if not self._wanted:
            return None
        if self._first is None:
            # the teacher comes first: all are compared with it
            known = any(t.origin is Origin.TEACHER and t.finished for t in self._ended)
            found = (design for kind in self.missing if known and (design := self._next(kind)))
            self._first = (next(found, None),)
        return self._first[0]

    def further(self) -> Design | None:
        """Return a further setting of the sequence that had least time, None where all have had what the search had."""
        spent_s = {kind: self.spent_s(kind) for kind in self._wanted if kind.sequence}
        search_s = self._search_s() if spent_s else 0.0
        waiting = sorted((s, kind.name, kind) for kind, s in spent_s.items() if s < search_s)
        return next((design for *_, kind in waiting if (design := self._next(kind))), None)

    def spent_s(self, kind: TechniqueKind) -> float:
        """Return the seconds that went into all trials of a technique, with those that they began with."""
        return self._trainings().seconds_behind(self._trials(kind))

    def _search_s(self) -> float:
        """Return the seconds of all that the search tried; what waits at a rung taught it too."""
        tried = [*self._ended, *self._waiting.values()]
        return Trainings(tried).seconds_behind(trial for trial in tried if not trial.by_hand)

    def _trainings(self) -> Trainings:
        return Trainings(self._ended)

    def _trials(self, kind: TechniqueKind) -> list[Trial]:
        if self._sorted is None:
            self._sorted, coverage = {}, Coverage.of(self._ended, self._facts)
            for trial in self._ended:
                self._sorted.setdefault(technique_of(trial, coverage), []).append(trial)
        return self._sorted.get(kind, [])

    def _is_missing(self, kind: TechniqueKind) -> bool:
        trials = self._trials(kind)
        done = [trial for trial in trials if trial.finished]
        if kind.narrows and self._budgets and not any(map(self._meets, done)):
            return len(trials) < TRIES
        return not done and len(trials) < TRIES

    def _meets(self, trial: Trial) -> bool:
        return self._limits.meets_latency({name: file.latency for name, file in trial.measured.items()})

    def _fits(self, spec: StudentSpec) -> bool:
        alike = [t for t in self._ended if t.measured and t.spec.shape_key() == spec.shape_key()]
        if alike:
            return any(map(self._meets, alike))
        latency = self._surrogates.latency
        return all(latency[name].predict_ms(spec) <= ms for name, ms in self._budgets.items())

    def _next(self, kind: TechniqueKind) -> Design | None:
        """Return the first step of the next setting that was not begun yet; None while another one is awaited."""
        for steps in kind.designs(self._context):
            design = self._in_turn(steps, kind)
            key = design.after, self._space.spec(design.plan).key()
            if key not in self._begun:
                return design
            if design.technique != kind.name and key not in self._over:
                return None  # a step of a sequence runs; where one failed, the next setting's turn has come
        return None

    def _in_turn(self, steps: Steps, kind: TechniqueKind) -> Design:
        """Return the first of these steps that is not done, the last at the latest; each goes on from the one before.

        A step on the way that every study begins with is theirs too; any other one is the technique's alone.
        """
        after: int | None = None
        for step in steps[:-1]:
            usual = after is None and self._space.spec(step.plan).key() in self._usual
            own = "" if usual else f"{STEP_OF}{kind.name}"
            step = replace(step, after=after, technique=step.technique or own)
            done = self._done(step)
            if done is None:
                return step
            after = done.number
        return replace(steps[-1], after=after, technique=kind.name)

    @cached_property
    def _usual(self) -> frozenset[str]:
        """Keys of the students that every study begins with."""
        return frozenset(self._space.spec(design.plan).key() for design in by_hand(self._space))

    def _done(self, step: Design) -> Trial | None:
        """Return the finished trial of this very student, from the teacher's weights or from what the step says."""
        key, after = self._space.spec(step.plan).key(), step.after
        return next((t for t in self._ended if t.finished and t.spec.key() == key and _begins(t, after)), None)


def _begins(trial: Trial, after: int | None) -> bool:
    """Tell whether a trial began with the weights of another one, or with the teacher's where that is None."""
    return trial.warm_start is None if after is None else trial.after == after
