"""The guide of a study: sensitivities of its teacher, and models of its targets' latency."""

from __future__ import annotations

import time
from dataclasses import replace

from ...compression.recover import Stopped
from ...evaluators.latency_model import LatencyLearner
from ...spaces.ranks import sensitivity_ranks
from ...spaces.sites import Sites
from ...spaces.space import build_space
from ...spaces.surrogates import Guide
from ...studies.schema import StudySections
from ..evaluate.context import Workbench, homes
from ..evaluate.target_session import Say
from .latency_samples import learn_latency, samples
from .sensitivities import study_sensitivity

SENSITIVITY_SHARE = 0.15
"""Of the time of a search, what its sensitivities may take at most: large networks take long."""
LEARNING_SHARE = 0.05
"""Of the time of a search, what the first plans of each latency model may take at most."""


def guided(bench: Workbench, settings: StudySections, say: Say, left_s: float | None = None) -> tuple[Workbench, Guide]:
    """The workbench, with a space that knows which groups are sensitive, and the guide. What was measured before is
    not measured again; sensitivities that take too long are gone on with by the next run of the study.

    left_s: the time of the search, None without an end."""
    without = settings.search.without
    damage = {} if "sensitivity" in without else _damage(bench, left_s, say)
    if damage:
        ground = replace(bench.space.ground, sensitivity=sensitivity_ranks(Sites(bench.space), damage))
        bench = replace(bench, space=build_space(ground, settings.space.axes, homes(settings)))
    latency = {}
    if "latency_model" not in without:
        seconds = settings.target.learn_seconds
        learn_latency(bench, seconds if left_s is None else min(seconds, LEARNING_SHARE * left_s), say, bench.stop)
        latency = {s.name: LatencyLearner(bench.space.ground, samples(s)) for s in bench.stations}
    return bench, Guide(damage, latency)


def _damage(bench: Workbench, left_s: float | None, say: Say) -> dict[str, tuple[float, ...]]:
    end_s = None if left_s is None else time.monotonic() + SENSITIVITY_SHARE * left_s

    def stop() -> bool:
        return bench.stop() or (end_s is not None and time.monotonic() > end_s)

    try:
        return study_sensitivity(bench.task, bench.space, stop, say).damage(Sites(bench.space))
    except Stopped:
        say("sensitivities are not complete: this run goes on without them; what was measured is kept for the next one")
        return {}
