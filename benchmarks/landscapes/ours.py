"""The project's own search on a landscape: the one place that knows how its parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import get_args

from autocompress.errors import UnknownName
from autocompress.search.decisions import Decisions
from autocompress.search.feasibility import Limits
from autocompress.search.loop import Driver
from autocompress.search.pace import Pace
from autocompress.search.promotion import Promotion
from autocompress.search.propose.strategy import make_proposer
from autocompress.search.store.trials import TrialStore
from autocompress.spaces.surrogates import Surrogates
from autocompress.studies.schema import Part, SearchSection

from .executor import PARTS, TARGET, SimulatedExecutor
from .landscape import Landscape

OBJECTIVES = ("accuracy", "latency_ms")
ABLE: tuple[Part, ...] = get_args(Part)
"""Parts that can be left out. Warm starts always are: what weights are worth cannot be told without networks."""
DEFAULT = SearchSection()
MANY_EXAMPLES = 10**6
"""Stands for the examples of a landscape whose accuracies are exact."""


def parts_of_training(without: Sequence[str]) -> tuple[float, ...]:
    """Return the rungs that an executor for this search needs."""
    return (1.0,) if "rungs" in without else PARTS


def make_search(
    landscape: Landscape,
    executor: SimulatedExecutor,
    folder: Path,
    seed: int,
    without: Sequence[Part] = (),
    settings: SearchSection = DEFAULT,
    time_left_s: Callable[[], float | None] = lambda: None,
) -> Driver:
    """Return a driver over `landscape`, ready to run.

    Args:
        landscape: What is searched.
        executor: Runs its jobs.
        folder: For its store.
        seed: Of the search.
        without: Parts of ABLE to leave out.
        settings: The search's own, but for `seed` and `without`.
        time_left_s: Tells the time that the search has left, where that is known.

    Raises:
        UnknownName: A part that cannot be left out.
    """
    for part in without:
        if part not in ABLE:
            raise UnknownName("part", part, ABLE)
    known = landscape.surrogates
    surrogates = Surrogates(
        {} if "sensitivity" in without else known.sensitivity, {} if "latency_model" in without else known.latency
    )
    if surrogates.sensitivity or surrogates.latency:
        executor.learn_surrogates()
    settings = settings.model_copy(update={"seed": seed, "without": tuple(without)})
    limits = Limits((TARGET,), landscape.budget_ms if landscape.has_budget else None)
    proposer = make_proposer(landscape.space, settings, OBJECTIVES, surrogates, limits.targets, limits.budgets, limits)
    promotion = Promotion(
        limits=limits,
        objectives=OBJECTIVES,
        rungs=executor.parts,
        examples=landscape.examples or MANY_EXAMPLES,
        look_examples=landscape.examples or MANY_EXAMPLES,
        eta=1 if "rungs" in without else settings.eta,
        first_looks="first_look" not in without,
    )
    decisions = Decisions(
        landscape.space,
        TrialStore(folder, landscape.name, OBJECTIVES),
        proposer,
        promotion,
        executor,
        seed,
        learn_from_gated=settings.infeasible == "constraint",
        pace=Pace(time_left_s=time_left_s, clock_s=lambda: executor.clock_s),
    )
    return Driver(executor, decisions)
