"""The guide of a study: sensitivities of its teacher, and models of its targets' latency."""

from __future__ import annotations

import time
from dataclasses import replace

from ..compression.recover import Stopped
from ..evaluators.latency_model import LatencyLearner
from ..spaces.guide import Guide
from ..spaces.ranks import sensitivity_ranks
from ..spaces.sites import Sites
from ..spaces.space import build_space
from ..studies.schema import StudySections
from .latency_samples import learn_latency, samples
from .sensitivity import study_sensitivity
from .station import Say
from .workbench import Workbench, homes

SENSITIVITY_SHARE = 0.15
"""Of the minutes of a search, what its sensitivities may take at most: large networks take long."""


def guided(bench: Workbench, settings: StudySections, say: Say) -> tuple[Workbench, Guide]:
    """The workbench, with a space that knows which groups are sensitive, and the guide. What was measured before is
    not measured again; sensitivities that take too long are gone on with by the next run of the study."""
    without = settings.search.without
    damage = {} if "sensitivity" in without else _damage(bench, settings, say)
    if damage:
        ground = replace(bench.space.ground, sensitivity=sensitivity_ranks(Sites(bench.space), damage))
        bench = replace(bench, space=build_space(ground, settings.space.axes, homes(settings)))
    latency = {}
    if "latency_model" not in without:
        learn_latency(bench, settings.target.learn_seconds, say, bench.stop)
        latency = {s.name: LatencyLearner(bench.space.ground, samples(s)) for s in bench.stations}
    return bench, Guide(damage, latency)


def _damage(bench: Workbench, settings: StudySections, say: Say) -> dict[str, tuple[float, ...]]:
    minutes = settings.search.minutes
    end_s = None if minutes is None else time.monotonic() + 60 * minutes * SENSITIVITY_SHARE

    def stop() -> bool:
        return bench.stop() or (end_s is not None and time.monotonic() > end_s)

    try:
        return study_sensitivity(bench.task, bench.space, stop, say).damage(Sites(bench.space))
    except Stopped:
        say("sensitivities are not complete: this run goes on without them; what was measured is kept for the next one")
        return {}
