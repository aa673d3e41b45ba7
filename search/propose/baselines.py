"""What one would do by hand with the time that the search had: each technique, and sequences of them, over a grid.

A search is compared with what its user would else have spent the time on. Whoever prunes and then quantizes tries
several widths and learning rates too. So each sequence of techniques goes on with its grid until it has had as many
seconds of this machine as the search itself, and its best model counts. Techniques alone have one setting each, at the
same width. A student of a sequence has as many steps of training as one of the search, in each of its trainings.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

from ...spaces.axes.bits import FULL
from ...spaces.axes.recovery import AWARE, METHOD, NEW, POST_TRAINING, START, TAUGHT
from ...spaces.axes.registry import SIZES
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...spaces.target import PerTarget
from ...spaces.variables import Option
from ..techniques import EIGHT, SEQUENCES, SIXTEEN, Coverage, Technique, Trainings, technique_of
from ..trial import Origin, Trial
from .by_hand import Design, uniform

WIDTHS = tuple(i / 16 for i in range(15, 2, -1))
USUAL_WIDTH = 0.5
"""Where no budget says how narrow a student must be: the one that tutorials take."""
MARGIN = 1.05
"""A width fits a budget where this many times its predicted latency does: the upper end of its interval must."""
RATES = (1.0, 0.5, 2.0)
"""Learning rates that are tried, as multiples of the usual one."""
FRESH_RATE = 0.05
"""Of students with new weights, which have further to go."""
TRIES = 3
"""So many settings of a technique are tried at least, while none meets the budget."""


@dataclass(frozen=True)
class Setting:
    """One way to carry a technique out.

    Attributes:
        width: Part of its channels that each group keeps.
        rate: Of learning, as a multiple of the usual one.
        trained: Whether quantization after pruning is trained too.
    """

    width: float = 1.0
    rate: float = 1.0
    trained: bool = False


class Baselines:
    """Proposes the techniques that a user asked for, one after the other."""

    def __init__(
        self, space: Space, surrogates: Surrogates, budgets: PerTarget[float], wanted: Sequence[Technique]
    ) -> None:
        """Begin with nothing tried.

        Args:
            space: The space.
            surrogates: What is known of it.
            budgets: Latency (ms), of the targets that have a budget.
            wanted: The techniques.
        """
        self._space, self._surrogates, self._budgets = space, surrogates, budgets
        self._wanted = [technique for technique in Technique if technique in wanted and self._possible(technique)]
        self._ended: list[Trial] = []
        self._begun: set[tuple[int | None, str]] = set()
        self._first: tuple[Design | None] | None = None

    def note(self, trial: Trial) -> None:
        """Take in a trial that ended or waits."""
        self._begun.add((trial.after, trial.spec.key()))
        self._first = None
        if trial.state.ended:
            self._ended.append(trial)

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
    def missing(self) -> list[Technique]:
        """The techniques that have no model yet, or none within the budget while that may still be found."""
        return [technique for technique in self._wanted if self._is_missing(technique)]

    def first(self) -> Design | None:
        """Return the next trial of a technique that is missing; None where there is none to begin now."""
        if not self._wanted:
            return None
        if self._first is None:
            # the teacher comes first: all are compared with it
            known = any(t.origin is Origin.TEACHER and t.finished for t in self._ended)
            found = (design for technique in self.missing if known and (design := self._next(technique)))
            self._first = (next(found, None),)
        return self._first[0]

    def further(self) -> Design | None:
        """Return a further setting of the sequence that had least time, None where all have had what the search had."""
        spent_s = {technique: self.spent_s(technique) for technique in SEQUENCES if technique in self._wanted}
        search_s = self._trainings().seconds_behind(t for t in self._ended if not t.by_hand) if spent_s else 0.0
        waiting = sorted((s, technique) for technique, s in spent_s.items() if s < search_s)
        return next((design for _, technique in waiting if (design := self._next(technique))), None)

    def spent_s(self, technique: Technique) -> float:
        """Return the seconds that went into all trials of a technique, with those that they began with."""
        return self._trainings().seconds_behind(self._trials(technique))

    def _trainings(self) -> Trainings:
        return Trainings(self._ended)

    def _trials(self, technique: Technique) -> list[Trial]:
        coverage = Coverage.of(self._ended)
        return [trial for trial in self._ended if technique_of(trial, coverage) is technique]

    def _is_missing(self, technique: Technique) -> bool:
        trials = self._trials(technique)
        done = [trial for trial in trials if trial.finished]
        narrows = technique in (*SEQUENCES, Technique.PRUNING, Technique.DISTILLATION)
        if narrows and self._budgets and not any(map(self._meets, done)):
            return len(trials) < TRIES
        return not done and len(trials) < TRIES

    def _meets(self, trial: Trial) -> bool:
        latencies = {name: file.latency for name, file in trial.measured.items()}
        return all(latencies[name].high_ms <= ms for name, ms in self._budgets.items() if name in latencies)

    def _possible(self, technique: Technique) -> bool:
        bits, sizes = self._space.options("bits"), any(self._space.of(axis) for axis in SIZES)
        if technique is Technique.SIXTEEN_BITS:
            return SIXTEEN in bits
        low = EIGHT in bits
        if technique is Technique.INT8_AFTER:
            return low
        if technique in (Technique.INT8_WHILE, Technique.QUANTIZE_PRUNE):
            return low and AWARE in self._space.options("recovery") and (sizes or technique is Technique.INT8_WHILE)
        return technique is Technique.TEACHER or (sizes and (low or technique not in SEQUENCES))

    def _next(self, technique: Technique) -> Design | None:
        """Return the first step of the next setting that was not begun yet; None while another one is awaited."""
        for setting in self._settings(technique):
            design = self._design(technique, setting)
            if design is None:
                return None
            if (design.after, self._space.spec(design.plan).key()) not in self._begun:
                return design
            if design.technique != technique:
                return None  # the first step of a sequence runs, or failed
        return None

    def _settings(self, technique: Technique) -> Iterator[Setting]:
        if technique in (Technique.TEACHER, Technique.SIXTEEN_BITS, Technique.INT8_AFTER):
            yield Setting()
            return
        if technique is Technique.INT8_WHILE:
            yield from (Setting(rate=rate) for rate in RATES)
            return
        for width, rate in product(self._widths(technique), RATES if technique in SEQUENCES else RATES[:1]):
            yield Setting(width, rate)
            if technique is Technique.PRUNE_QUANTIZE and AWARE in self._space.options("recovery"):
                yield Setting(width, rate, trained=True)

    def _widths(self, technique: Technique) -> list[float]:
        """Return the widths to try: those within the budget, widest first; without one, from the usual width on."""
        bits = FULL if technique in (Technique.PRUNING, Technique.DISTILLATION) else EIGHT
        narrower = [w for w in WIDTHS if self._space.spec(uniform(self._space, w, bits)).channels]
        if not self._budgets or not set(self._budgets) <= set(self._surrogates.latency):
            return sorted(narrower, key=lambda width: abs(width - USUAL_WIDTH))
        return [width for width in narrower if self._fits(width, bits)] or narrower[-1:]

    def _fits(self, width: float, bits: int) -> bool:
        spec = self._space.spec(uniform(self._space, width, bits))
        alike = [t for t in self._ended if t.measured and t.spec.shape_key() == spec.shape_key()]
        if alike:
            return any(map(self._meets, alike))
        latency = self._surrogates.latency
        return all(MARGIN * latency[name].predict_ms(spec) <= ms for name, ms in self._budgets.items())

    def _design(self, technique: Technique, setting: Setting) -> Design | None:
        """Return what is to be trained for a setting; None while its first step is not there."""
        space, width, rate = self._space, setting.width, setting.rate
        part = f"{width:.0%}"
        at = "" if rate == 1.0 else f", rate {rate * self._usual_rate:.3g}"
        if technique is Technique.TEACHER:
            return Design(Plan(), Origin.TEACHER, "teacher")
        if technique in (Technique.SIXTEEN_BITS, Technique.INT8_AFTER):
            bits = SIXTEEN if technique is Technique.SIXTEEN_BITS else EIGHT
            return self._made(technique, f"teacher {'16 bits' if bits == SIXTEEN else 'int8'}", Plan(), 1.0, bits)
        if technique is Technique.INT8_WHILE:
            return self._made(technique, f"teacher int8, trained{at}", self._taught(rate, aware=True), 1.0, EIGHT)
        if technique is Technique.PRUNING:
            return self._made(technique, f"prune {part}{at}", self._taught(rate, alpha=0.0), width, FULL)
        if technique is Technique.DISTILLATION:
            like = self._taught(FRESH_RATE / self._usual_rate).changed({START: NEW})
            return self._made(technique, f"distil {part}, new weights", like, width, FULL)
        if technique is Technique.TUTORIALS:
            label = f"prune {part}, fine-tune, int8{at}"
            return self._made(technique, label, self._taught(rate, alpha=0.0), width, EIGHT)
        if technique is Technique.QUANTIZE_PRUNE:
            first = self._design(Technique.INT8_WHILE, Setting())
            label = f"int8, then prune {part}{at}"
        elif setting.trained:
            first = Design(uniform(space, width, FULL, self._taught(rate)), Origin.BY_HAND, f"uniform {part}{at}")
            label = f"prune {part}, then train int8{at}"
        else:
            return self._made(technique, f"prune {part}, then int8{at}", self._taught(rate), width, EIGHT)
        assert first is not None
        done = self._done(first.plan)
        if done is None:
            return first
        second = self._made(technique, label, self._taught(rate, aware=True), width, EIGHT)
        return Design(second.plan, second.origin, second.label, None, technique.value, done.number)

    def _done(self, plan: Plan) -> Trial | None:
        """Return the finished trial of this very student, from the teacher's weights or from what the plan says."""
        key = self._space.spec(plan).key()
        return next((t for t in self._ended if t.finished and t.spec.key() == key and t.warm_start is None), None)

    def _made(self, technique: Technique, label: str, like: Plan, width: float, bits: int) -> Design:
        return Design(uniform(self._space, width, bits, like), Origin.BY_HAND, label, None, technique.value)

    @property
    def _usual_rate(self) -> float:
        return self._space.context.recovery.learning_rate

    def _taught(self, rate: float = 1.0, alpha: float | None = None, aware: bool = False) -> Plan:
        choices: dict[str, Option] = {"recovery:quantization": AWARE if aware else POST_TRAINING, METHOD: TAUGHT}
        if rate != 1.0:
            choices["recovery:learning_rate"] = rate * self._usual_rate
        if alpha is not None:
            choices |= {"recovery:alpha": alpha, "recovery:feature_weight": 0.0}
        return self._space.taught.changed(choices)
