"""How one study is searched: the proposer put together for a space, what is known of it, and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import zip_longest

from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...spaces.target import PerTarget
from ...studies.schema import SearchSection
from ..feasibility import Limits
from ..objectives import is_latency
from ..techniques import asked_for
from .baselines import Baselines
from .compound import CompoundEncoding, can_scale
from .encoding import Encoding
from .factorial import factorial
from .initial_design import initial_design
from .learned.learned import LearnedProposals
from .learned.source import LearnedSource, price_of
from .profile import ProfileEncoding, sensitivity_ranks
from .proposal import Arm
from .proposer import Proposer
from .samplers import Sampler
from .solved import solved

FIRST_LEVELS = 6
"""Designs that give each role a level, among what every study begins with; the others have to earn their trials."""


def make_proposer(
    space: Space,
    settings: SearchSection,
    objectives: Sequence[str],
    surrogates: Surrogates,
    targets: Sequence[str],
    budgets: PerTarget[float],
    limits: Limits | None = None,
) -> Proposer:
    """Return the proposer of a study.

    Args:
        space: What is searched.
        settings: The section `[search]`.
        objectives: Their names.
        surrogates: What is known of the space.
        targets: Names of the study's targets.
        budgets: Median latency (ms) that usually meets the budget, of the targets that have one.
        limits: What the user asks of a model; nothing if None.
    """
    limits = limits or Limits()
    without, min_accuracy = settings.without, limits.min_accuracy
    usual, techniques = asked_for(settings.baselines)
    starts = starts_of(space, surrogates, targets, budgets)
    ranks = sensitivity_ranks(space, surrogates.sensitivity)
    profile, compound = ProfileEncoding(space, ranks), CompoundEncoding(space, ranks)

    def arm_of(encoding: Encoding, describes: bool) -> Arm | None:
        if "profile" in without or not describes:
            return None
        return Arm(encoding, Sampler(encoding.latent(), len(objectives), settings.seed, settings.sampler))

    guided = "initial_design" not in without and set(targets) <= set(surrogates.latency)
    levels = [] if "levels" in without else _levels(space, surrogates, starts)
    plans = solved(space, surrogates, starts) if guided else ()
    design = initial_design(space, plans, levels[:FIRST_LEVELS], usual, ranks)
    known_ms = max((ms for _, ms in starts.values()), default=0.0)
    limit_ms = (known_ms or max(budgets.values())) if budgets else None
    price, learned = price_of(objectives), None
    if "learned" not in without and price is not None and "accuracy" in objectives:
        known = surrogates if is_latency(price) else replace(surrogates, latency={})
        limit_ms = limit_ms if is_latency(price) else None
        model = LearnedProposals(space, known, limit_ms, settings.seed, [d.plan for d in design], min_accuracy)
        learned = LearnedSource(model, objectives)
    return Proposer(
        space,
        arm_of(profile, bool(profile.latent())),
        settings.seed,
        design,
        surrogates,
        budgets,
        Baselines(space, surrogates, budgets, techniques, limits),
        learned,
        levels[FIRST_LEVELS:],
        limit_ms,
        None if min_accuracy is None else -min_accuracy,
        arm_of(compound, can_scale(space)),
    )


def _levels(space: Space, surrogates: Surrogates, starts: Mapping[str, tuple[Plan, float]]) -> list[Plan]:
    """Return the designs that give each role a level, of all targets in turn; see `starts_of` for `starts`."""
    each = [
        factorial(space, surrogates.latency_for(name), space.taught.changed(plan.choices))
        for name, (plan, _) in starts.items()
    ]
    return [plan for some in zip_longest(*each) for plan in some if plan is not None]


def starts_of(
    space: Space, surrogates: Surrogates, targets: Sequence[str], budgets: PerTarget[float]
) -> dict[str, tuple[Plan, float]]:
    """Return the teacher's plan and the largest latency (ms) worth having.

    Returns:
        An entry for each target that plans choose from, with its budget or what the teacher takes. Where plans do not
        choose, one entry named "", in milliseconds of the first target, as the strictest budget leaves it.
    """
    chosen = [str(name) for name in space.options("target")]
    plans = {name: space.repair(Plan({"target": name})) for name in chosen} or {"": Plan()}
    teacher = {
        name: surrogates.latency[name].predict_ms(space.spec(plans.get(name, Plan())))
        for name in targets
        if name in surrogates.latency
    }
    if chosen:
        return {name: (plans[name], min(ms, budgets.get(name, ms))) for name, ms in teacher.items()}
    part = min((budgets[name] / ms for name, ms in teacher.items() if name in budgets), default=1.0)
    return {"": (Plan(), min(1.0, part) * next(iter(teacher.values()), 0.0))}
