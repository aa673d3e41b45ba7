"""The project's own search on a landscape: the one place that knows how its parts are put together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from autocompress.errors import UnknownName
from autocompress.search.feasibility import Rules
from autocompress.search.loop import Driver
from autocompress.search.propose.strategy import make_proposer
from autocompress.search.store.trials import Storage
from autocompress.spaces.ranks import sensitivity_ranks
from autocompress.spaces.space import build_space
from autocompress.spaces.surrogates import Guide
from autocompress.studies.schema import BudgetSection, Part, SearchSection

from .executor import PARTS, TARGET, SimulatedExecutor
from .landscape import Landscape

OBJECTIVES = ("accuracy", "latency_ms")
ABLE: tuple[Part, ...] = get_args(Part)
"""Parts that can be left out."""
DEFAULT = SearchSection()


def parts_of_training(without: Sequence[str]) -> tuple[float, ...]:
    """The rungs that an executor for this search needs."""
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
    """A driver over `landscape`, ready to run. folder: for its storage. without: names of ABLE. settings: the
    search's own, but for seed and `without`. time_left_s: of the search, where that is known.

    Raises UnknownName for another part.
    """
    for part in without:
        if part not in ABLE:
            raise UnknownName("part", part, ABLE)
    damage = {} if "sensitivity" in without else landscape.guide.damage
    latency = {} if "latency_model" in without else landscape.guide.latency
    if damage or latency:
        executor.guide()
    space = landscape.space
    if damage:
        ground = replace(space.ground, sensitivity=sensitivity_ranks(landscape.sites, damage))
        space = build_space(ground, [axis.name for axis in space.axes])
    settings = settings.model_copy(update={"seed": seed, "without": tuple(without)})
    budgets = {TARGET: landscape.budget_ms}
    proposer = make_proposer(space, settings, len(OBJECTIVES), Guide(damage, latency), (TARGET,), budgets)
    rules = Rules(
        budget=BudgetSection(latency_ms=landscape.budget_ms),
        targets=(TARGET,),
        budgets=budgets,
        objectives=OBJECTIVES,
        rungs=executor.parts,
        examples=landscape.examples or 10**6,
        look_examples=landscape.examples or 10**6,
        file_examples=landscape.examples or 10**6,
        learn_from_gated=settings.infeasible == "constraint",
        eta=1 if "rungs" in without else settings.eta,
        first_looks="first_look" not in without,
        inherits=False,  # what a neighbour's weights are worth cannot be told without networks
    )
    storage = Storage(folder, landscape.name, OBJECTIVES)
    return Driver(storage, proposer, executor, rules, seed, time_left_s=time_left_s, clock_s=lambda: executor.clock_s)
