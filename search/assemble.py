"""The decisions and the driver of an open study, put together from its settings."""

from __future__ import annotations

from collections.abc import Callable

from ..compression.first_look import LOOK_IMAGES
from ..spaces.surrogates import Surrogates
from .decisions import Decisions
from .evaluate.context import LOOK_EXAMPLES
from .evaluate.warm_start import WarmStarts
from .executors.base import Executor
from .loop import Driver
from .pace import Pace, Stop
from .prepare.latency_samples import held_ratio
from .promotion import Promotion
from .propose.strategy import make_proposer
from .study import OpenStudy


def promotion_of(study: OpenStudy) -> Promotion:
    """Return how the students of a study go from rung to rung."""
    settings, validation = study.settings, study.context.task.validation
    without = settings.search.without
    return Promotion(
        limits=study.limits,
        objectives=study.objectives,
        rungs=settings.recovery.rungs,
        examples=min(LOOK_EXAMPLES, len(validation)),
        look_examples=min(LOOK_IMAGES, len(validation)),
        eta=1 if "rungs" in without else settings.search.eta,
        first_looks="first_look" not in without,
    )


def decisions_of(
    study: OpenStudy,
    executor: object,
    surrogates: Surrogates,
    time_left_s: Callable[[], float | None],
    since_s: float,
) -> Decisions:
    """Return what decides for a study.

    Args:
        study: The study.
        executor: Does its jobs.
        surrogates: What is known of its space.
        time_left_s: Returns the seconds until the search has to end, None where it need not.
        since_s: When, on the monotonic clock, the search began.
    """
    settings, context = study.settings, study.context
    promotion = promotion_of(study)
    # models predict medians: a limit on a tail, or on an interval's end, leaves less room than its milliseconds say
    budgets = {
        name: ms / held_ratio(context.sessions[name], name, study.limits) for name, ms in study.limits.budgets.items()
    }
    proposer = make_proposer(
        study.space,
        settings.search,
        study.objectives,
        surrogates,
        study.limits.targets,
        budgets,
        study.limits,
    )
    network = context.network
    starts = WarmStarts(study.folder, network.groups, len(promotion.rungs), network.blocks, network.students)
    return Decisions(
        study.space,
        study.store,
        proposer,
        promotion,
        executor,
        settings.search.seed,
        None if "warm_start" in settings.search.without else starts,
        learn_from_gated=settings.search.infeasible == "constraint",
        pace=Pace(settings.search.trials, time_left_s, since_s=since_s),
        slices=context.slices,
    )


def driver_of(study: OpenStudy, executor: Executor, surrogates: Surrogates, stop: Stop, since_s: float) -> Driver:
    """Return the driver of a study; see `decisions_of`.

    Args:
        study: The study.
        executor: Runs its jobs.
        surrogates: What is known of its space.
        stop: Tells the time that is left.
        since_s: When, on the monotonic clock, the search began.
    """
    return Driver(executor, decisions_of(study, executor, surrogates, stop.time_left_s, since_s))
