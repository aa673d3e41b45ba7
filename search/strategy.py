"""How one study is searched: the proposer put together for a space, what is known of it, and its settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..spaces.guide import Guide
from ..spaces.plan import Plan
from ..spaces.shares import ShareEncoding, reach_ms
from ..spaces.sites import Sites
from ..spaces.space import Space
from ..studies.schema import SearchSection
from .opening import opening
from .proposer import Arm, Encoding, Proposer
from .sampler import Sampler

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
        opening(space, None if "seeds" in without else shares),
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
    lowest_ms, teacher_ms = reach_ms(sites, guide, targets)
    plain = Plan()
    shares = [limit / guide.latency[name].predict_ms(plain) for name, limit in budgets.items()]
    # where each plan chooses its target the laxest budget counts, else all of them
    within = (max if space.homes else min)(shares, default=1.0)
    return ShareEncoding(sites, guide, targets, lowest_ms, max(lowest_ms, min(1.0, within) * teacher_ms))
