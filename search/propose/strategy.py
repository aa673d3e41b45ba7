"""How one study is searched: the proposer put together for a space, what is known of it, and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...spaces.plan import Plan
from ...spaces.sites import Sites
from ...spaces.space import Space
from ...spaces.surrogates import Guide
from ...studies.schema import SearchSection
from .initial_design import opening
from .proposer import Arm, Encoding, Proposer
from .samplers import Sampler
from .shares import ShareEncoding, reach_ms

MOVES = 2.0
CROSSOVERS = 0.5
"""Shares of the proposals that move a plan of the front, or cross two of them, against 1 for each encoding."""


def make_proposer(
    space: Space,
    settings: SearchSection,
    objectives: int,
    guide: Guide,
    targets: Sequence[str],
    budgets: Mapping[str, float],
) -> Proposer:
    """The proposer of a study. objectives: how many. targets: names, the first one first. budgets: latency (ms) by
    target, of those that have one."""
    without = settings.without
    shares = None if {"shares", "seeds"} <= set(without) else encoding_by_shares(space, guide, targets, budgets)
    encodings: dict[str, Encoding] = {}
    if "profile" not in without or shares is None:
        encodings["profile"] = space
    if shares is not None and "shares" not in without:
        encodings["shares"] = shares
    arms = [
        Arm(name, encoding, Sampler(encoding.latent(), objectives, settings.seed + i, settings.sampler))
        for i, (name, encoding) in enumerate(encodings.items())
        if encoding.latent()
    ]
    refined = "refinement" not in without
    return Proposer(
        space,
        arms,
        settings.seed,
        opening(space, None if "seeds" in without else shares, tops_ms(space, guide, targets, budgets)),
        guide,
        budgets,
        MOVES if refined else 0.0,
        CROSSOVERS if refined else 0.0,
    )


def encoding_by_shares(
    space: Space, guide: Guide, targets: Sequence[str], budgets: Mapping[str, float]
) -> ShareEncoding | None:
    """The encoding that an integer program decodes, for plans within the budgets; None where too little is known."""
    if not guide.damage or not set(targets) <= set(guide.latency):
        return None
    sites = Sites(space)
    lowest_ms, _ = reach_ms(sites, guide, targets)
    top_ms = max(tops_ms(space, guide, targets, budgets).values())
    return ShareEncoding(sites, guide, targets, lowest_ms, max(lowest_ms, top_ms))


def tops_ms(space: Space, guide: Guide, targets: Sequence[str], budgets: Mapping[str, float]) -> Mapping[str, float]:
    """The largest latency (ms) worth having: for each target that plans choose from, its budget or what the teacher
    takes; else one for all, named "", in milliseconds of the first target, as the strictest budget leaves it."""
    teacher = {name: guide.latency[name].predict_ms(Plan()) for name in targets if name in guide.latency}
    if space.homes:
        return {name: min(ms, budgets.get(name, ms)) for name, ms in teacher.items()}
    part = min((budgets[name] / ms for name, ms in teacher.items() if name in budgets), default=1.0)
    return {"": min(1.0, part) * next(iter(teacher.values()), 0.0)}
