"""The guide of a study: sensitivities of its teacher, and models of its targets' latency."""

from __future__ import annotations

from dataclasses import replace

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


def guided(bench: Workbench, settings: StudySections, say: Say) -> tuple[Workbench, Guide]:
    """The workbench, with a space that knows which groups are sensitive, and the guide. What was measured before is
    not measured again."""
    without = settings.search.without
    damage = {}
    if "sensitivity" not in without:
        sensitivity = study_sensitivity(bench.task, bench.space, bench.stop, say)
        sites = Sites(bench.space)
        damage = sensitivity.damage(sites)
        ground = replace(bench.space.ground, sensitivity=sensitivity_ranks(sites, damage))
        bench = replace(bench, space=build_space(ground, settings.space.axes, homes(settings)))
    latency = {}
    if "latency_model" not in without:
        learn_latency(bench, settings.target.learn_seconds, say, bench.stop)
        latency = {s.name: LatencyLearner(bench.space.ground, samples(s)) for s in bench.stations}
    return bench, Guide(damage, latency)
