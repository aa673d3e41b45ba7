"""How one study is searched: the proposer put together for a space, what is known of it, and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from ...spaces.plan import Plan
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...spaces.target import PerTarget
from ...studies.schema import SearchSection
from ..techniques import asked_for
from .baselines import Baselines
from .encoding import Encoding
from .factorial import factorial
from .initial_design import initial_design
from .learned.learned import LearnedProposals
from .profile import ProfileEncoding, sensitivity_ranks
from .proposal import Arm
from .proposer import Proposer
from .samplers import Sampler
from .shares import ShareEncoding, reach_ms

FIRST_LEVELS = 6
"""Designs that give each role a level, among what every study begins with; the others have to earn their trials."""


def make_proposer(
    space: Space,
    settings: SearchSection,
    objectives: Sequence[str],
    surrogates: Surrogates,
    targets: Sequence[str],
    budgets: PerTarget[float],
) -> Proposer:
    """Return the proposer of a study.

    Args:
        space: What is searched.
        settings: The section `[search]`.
        objectives: Their names.
        surrogates: What is known of the space.
        targets: Names of the study's targets.
        budgets: Latency (ms), of the targets that have a budget.
    """
    without = settings.without
    usual, techniques = asked_for(settings.baselines)
    starts = starts_of(space, surrogates, targets, budgets)
    asked = not {"shares", "initial_design"} <= set(without)
    shares = encoding_by_shares(space, surrogates, targets, starts) if asked else None
    encodings: dict[str, Encoding] = {}
    profile = ProfileEncoding(space, sensitivity_ranks(space, surrogates.sensitivity))
    if "profile" not in without or shares is None:
        encodings["profile"] = profile
    if shares is not None and "shares" not in without:
        encodings["shares"] = shares
    arms = [
        Arm(name, encoding, Sampler(encoding.latent(), len(objectives), settings.seed + i, settings.sampler))
        for i, (name, encoding) in enumerate(encodings.items())
        if encoding.latent()
    ]
    levels = [] if "levels" in without else _levels(space, surrogates, starts)
    design = initial_design(
        space, None if "initial_design" in without else shares, starts, levels[:FIRST_LEVELS], usual
    )
    known_ms = max((ms for _, ms in starts.values()), default=0.0)
    limit_ms = (known_ms or max(budgets.values())) if budgets else None
    learned = None
    if "learned" not in without:
        learned = LearnedProposals(space, surrogates, limit_ms, settings.seed, [d.plan for d in design])
    return Proposer(
        space,
        arms,
        settings.seed,
        design,
        surrogates,
        budgets,
        "refinement" not in without,
        Baselines(space, surrogates, budgets, techniques),
        learned,
        objectives,
        levels[FIRST_LEVELS:],
        limit_ms,
    )


def _levels(space: Space, surrogates: Surrogates, starts: Mapping[str, tuple[Plan, float]]) -> list[Plan]:
    """Return the designs that give each role a level, of all targets in turn; see `starts_of` for `starts`."""
    each = [
        factorial(space, surrogates.latency_for(name), space.taught.changed(plan.choices))
        for name, (plan, _) in starts.items()
    ]
    return [plan for some in zip_longest(*each) for plan in some if plan is not None]


def encoding_by_shares(
    space: Space, surrogates: Surrogates, targets: Sequence[str], starts: Mapping[str, tuple[Plan, float]]
) -> ShareEncoding | None:
    """Return the encoding that the exact solver decodes, for plans within the budgets; None where too little is known.

    Arguments are those of `make_proposer`; for `starts` see `starts_of`.
    """
    if not surrogates.sensitivity or not set(targets) <= set(surrogates.latency):
        return None
    lowest_ms, _ = reach_ms(space, surrogates, {name: plan for name, (plan, _) in starts.items()})
    top_ms = max(ms for _, ms in starts.values())
    return ShareEncoding(space, surrogates, lowest_ms, max(lowest_ms, top_ms))


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
