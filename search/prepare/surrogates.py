"""The surrogates of a study: sensitivities of its teacher, and models of its targets' latency."""

from __future__ import annotations

import time

from ...compression.recover import Stopped
from ...evaluators.microbenchmarks import Say
from ...spaces.space import Space
from ...spaces.surrogates import Surrogates
from ...studies.schema import StudySections
from ..evaluate.context import EvaluationContext
from .latency_samples import learn_latency
from .sensitivities import study_sensitivity

SENSITIVITY_SHARE = 0.15
"""Of the time of a search, what its sensitivities may take at most: large networks take long."""
LEARNING_SHARE = 0.05
"""Of the time of a search, what the first plans of each latency model may take at most."""


def prepare_surrogates(
    context: EvaluationContext, space: Space, settings: StudySections, say: Say, left_s: float | None = None
) -> Surrogates:
    """Measure what can be known without training: sensitivities, and the latency of some plans.

    What was measured before is not measured again. Sensitivities that take too long are gone on with by the next run
    of the study.

    Args:
        context: What this process has of the study.
        space: The space.
        settings: The study's settings.
        say: Takes a line about what is going on.
        left_s: Seconds of the search, None without an end.
    """
    without = settings.search.without
    sensitivity = {} if "sensitivity" in without else _sensitivity(context, space, left_s, say)
    if "latency_model" in without:
        return Surrogates(sensitivity)
    seconds = settings.target.learn_seconds
    seconds = seconds if left_s is None else min(seconds, LEARNING_SHARE * left_s)
    learners = learn_latency(context, space, seconds, say)
    return Surrogates(sensitivity, learners, learners)


def _sensitivity(
    context: EvaluationContext, space: Space, left_s: float | None, say: Say
) -> dict[str, tuple[float, ...]]:
    end_s = None if left_s is None else time.monotonic() + SENSITIVITY_SHARE * left_s

    def stop() -> bool:
        return context.stop() or (end_s is not None and time.monotonic() > end_s)

    try:
        return study_sensitivity(context.task, space, stop, say, context.slices).of(space)
    except Stopped:
        say("sensitivities are not complete: this run goes on without them; what was measured is kept for the next one")
        return {}
