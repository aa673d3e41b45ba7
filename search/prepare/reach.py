"""The reach of a space: how fast its fastest students are, measured before anything is called possible or not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

from ...errors import AutoCompressError, BudgetError, ExportError, MeasurementError, TrialFailed, one_line
from ...evaluators.measurement import Latency, plain_figure
from ...evaluators.microbenchmarks import Say
from ...spaces.axes.registry import SIZES
from ...spaces.axes.student import TEACHER
from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.target import PerTarget
from ...spaces.variables import Option
from ..evaluate.context import EvaluationContext
from ..evaluate.gate import time_shape
from ..feasibility import Limits

FEW = 4
"""A variable with at most so many options is also changed by itself."""
LESS_WORK = {"depth": "fewest blocks", "size": "smallest inputs"}
"""Axes that leave work out and change the form of no layer, with what a user reads of their last options."""


@dataclass(frozen=True)
class Fastest:
    """The fastest of the plans that were measured for a target.

    Attributes:
        words: What it is, for the user.
        plan: The plan.
        latency: Of one inference.
        sure: Whether all were measured that could be faster, where this one misses its budget; else time ran out.
        least_bytes: Size of the smallest model that was measured, whichever plan it is of.
    """

    words: str
    plan: Plan
    latency: Latency
    sure: bool = True
    least_bytes: int = 0


def measure_reach(context: EvaluationContext, space: Space, limits: Limits) -> PerTarget[Fastest]:
    """Measure the smallest plans of a space.

    Those of the smallest width are measured in each precision. Where they miss a limit, blocks are dropped and inputs
    made smaller too. The smallest plan need not be the fastest: narrow int8 layers are slower than wider ones
    on some CPUs. So where it misses the budget too, the fastest is looked for by descent before anything is called out
    of reach. A plan that cannot be built or timed is passed over.

    Args:
        context: What this process has of the study.
        space: The space.
        limits: The study's budgets.

    Returns:
        For each target its fastest plan; none where time ran out before any was measured.

    Raises:
        MeasurementError: No plan can be built and timed.
        StorageError: The disk is full.
    """
    search = _Search(context, space, limits)
    search.measure(_smallest(space, ()))
    too_large = limits.max_mb is not None and min(search.sizes, default=0) > limits.max_mb * 1e6
    search.measure(_smallest(space, tuple(LESS_WORK)), only_missed=not too_large)
    sure = {name: search.descend(name) for name in context.sessions}
    for name, complete in sure.items():
        if complete and name not in search.fastest and search.failure is not None:
            raise MeasurementError(f"the fastest plans cannot be measured: {search.failure}") from search.failure
    least = min(search.sizes, default=0)
    return {name: replace(fastest, sure=sure[name], least_bytes=least) for name, fastest in search.fastest.items()}


def check_reach(found: PerTarget[Fastest], limits: Limits, any_of: bool, say: Say = lambda line: None) -> None:
    """Refuse budgets that even the fastest plans surely miss.

    Args:
        found: What `measure_reach` found.
        limits: The study's budgets.
        any_of: Whether each model is for one of the targets; then it is enough to reach one.
        say: Takes a line about each limit of which it is not known whether it can be met.

    Raises:
        BudgetError: A budget is out of reach.
    """
    least_mb = min((fastest.least_bytes for fastest in found.values()), default=0) / 1e6
    if limits.max_mb is not None and least_mb > limits.max_mb:
        known = f"the smallest model so far has {least_mb:.3g} MB"
        say(f"whether {limits.max_mb:.3g} MB can be met is not known yet; {known}")
    missed = []
    for name, fastest in found.items():
        if not limits.out_of_reach(name, fastest.latency):
            continue
        where, latency = f"on {name}: " if len(limits.targets) > 1 else "", fastest.latency
        limit = plain_figure(limits.budgets[name], 4)
        p50, held = map(plain_figure, (latency.p50_ms, limits.held_ms(name, latency)[2]))
        measured = f"({fastest.words}) was measured at {p50} ms (p50; {held} ms held against the budget)"
        if fastest.sure:
            missed.append(
                f"{where}budget {limit} ms is out of reach: the fastest plan of this space {measured}; ask "
                "for more than that, or lower min_channels_fraction, the batch, or the teacher's size"
            )
        else:
            say(f"{where}whether {limit} ms can be met is not known yet; the fastest plan so far {measured}")
    if missed and (not any_of or len(missed) == len(limits.targets)):
        raise BudgetError(missed[0])


class _Search:
    """Measures plans one after the other, and keeps the fastest of each target."""

    def __init__(self, context: EvaluationContext, space: Space, limits: Limits) -> None:
        self.fastest: dict[str, Fastest] = {}
        self.sizes: list[int] = []
        self.failure: Exception | None = None
        self._context, self._space, self._limits = context, space, limits
        self._tried: set[str] = set()

    def measure(self, plans: Iterable[tuple[str, Plan]], only_missed: bool = False) -> None:
        """Measure plans with their names, to the end of the search's time.

        Args:
            plans: The plans.
            only_missed: Whether those are left out that are for no target whose budget is missed so far.
        """
        for words, plan in plans:
            names = self._context.sessions_for(self._space.spec(plan))
            if not only_missed or any(self._misses(name) for name in names):
                if self._context.stop():
                    return
                self._try(words, plan)

    def descend(self, target: str) -> bool:
        """Look for a plan that meets the budget of a target, by changing one thing of the fastest at a time.

        Returns:
            Whether it came to an end: at the budget, or where nothing is faster; else time ran out.
        """
        start, improved = self.fastest.get(target), self._misses(target)
        words = f"{start.words}, descended" if start else ""
        while improved:
            improved = False
            for move in _moves(self._space):
                if not self._misses(target):
                    return True
                if self._context.stop():
                    return False
                before = self.fastest.get(target)
                if before is not None:
                    self._try(words, self._space.repair(before.plan.changed(move)))
                improved |= self.fastest.get(target) != before
        return True

    def _misses(self, target: str) -> bool:
        fastest = self.fastest.get(target)
        return fastest is None or self._limits.out_of_reach(target, fastest.latency)

    def _try(self, words: str, plan: Plan) -> None:
        spec = self._space.spec(plan)
        if spec.shape_key() in self._tried:
            return
        self._tried.add(spec.shape_key())
        try:
            shape = time_shape(self._context, spec)
        except (TrialFailed, ExportError, MeasurementError) as failure:
            self.failure = self.failure or failure
            return
        except (AutoCompressError, OSError):
            raise
        except Exception as fault:  # of this plan alone, as it would be of a trial
            self.failure = self.failure or TrialFailed(f"{type(fault).__name__}: {one_line(fault)}")
            return
        self.sizes.append(shape.size_bytes)
        for name, latency in shape.latencies.items():
            if name not in self.fastest or latency.p50_ms < self.fastest[name].latency.p50_ms:
                self.fastest[name] = Fastest(words, plan, latency)


def _smallest(space: Space, less: Sequence[str]) -> Iterator[tuple[str, Plan]]:
    """Yield the narrowest plans with their names, in each precision and of each network; `less`: of `LESS_WORK`."""
    for bits in space.options("bits") or (32,):
        least = [LESS_WORK[axis] for axis in less if space.of(axis)]
        plain = f"{', '.join([*least, 'smallest width'])} in {'fp32' if bits == 32 else f'{bits} bits'}"
        for target, student in product(space.options("target") or ("",), space.options("student") or (TEACHER,)):
            like = Plan({"student": student, **({"target": target} if target else {})})
            words = plain if student == TEACHER else f"{plain} of {student}"
            # of blocks and sizes the last option: what is left of the work is not always known
            gone = {v.name: v.options[-1] for axis in less for v in space.of(axis)}
            yield words, space.uniform({**dict.fromkeys(SIZES, 0.0), "bits": bits}, like.changed(gone))


def _moves(space: Space) -> Iterator[Mapping[str, Option]]:
    """Yield changes of all variables with the same options, or of one with few options.

    No student is faster with one block more. Smaller inputs are resized first, which tiny networks may not win back.
    """
    alike: dict[tuple[str, tuple[Option, ...]], list[str]] = {}
    for variable in space.network:
        alike.setdefault((variable.axis, variable.options), []).append(variable.name)
    for (axis, options), names in alike.items():
        worth = {"depth": options[-1:], "size": (options[-1], options[0])}.get(axis, options)
        yield from (dict.fromkeys(names, option) for option in worth)
        if len(options) <= FEW and len(names) > 1:
            yield from ({name: option} for option in worth for name in names)
