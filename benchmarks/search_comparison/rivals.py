"""What a user would run instead of the search. Each rival proposes plans; `race` makes models of them."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

from autocompress.search.propose.by_hand import uniform
from autocompress.spaces.axes.registry import SIZES
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.variables import Option

from ..flat_space import precisions
from .flat import FlatSampler

WIDTHS = 9
"""Number of widths in the uniform grid, evenly spread between the narrowest and the teacher's."""
RATIOS = (0.5, 0.25, 0.75, 0.1, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8)
"""Shares of channels that the pipeline prunes, in the order in which an engineer closes in."""
BY_HAND: dict[str, Option] = {"recovery:temperature": 4.0, "recovery:alpha": 0.7}
"""How the pipeline distills."""
AWARE: dict[str, Option] = {"recovery:quantization": "aware"}


@dataclass(frozen=True)
class Proposed:
    """A plan to make a model of.

    Attributes:
        plan: The plan.
        ticket: The rival's own.
    """

    plan: Plan
    ticket: int = 0


@dataclass(frozen=True)
class Found:
    """What came of a plan.

    Attributes:
        latency_ms: None where it failed.
        accuracy: None where it failed or was over the budget, which is found before any training.
        over: measured / budget - 1; None without a budget.
    """

    latency_ms: float | None = None
    accuracy: float | None = None
    over: float | None = None


class Rival(Protocol):
    """Proposes plans one by one, and is told what came of each."""

    def ask(self) -> Proposed | None:
        """Return the next plan, None when there are no more."""
        ...

    def tell(self, proposed: Proposed, found: Found) -> None:
        """Take in what came of a plan."""
        ...


class Listed:
    """Goes through a list of plans, each once, whatever comes of them."""

    def __init__(self, plans: Iterable[Plan]) -> None:
        """Go through `plans`."""
        self._plans = iter(dict.fromkeys(plans))

    def ask(self) -> Proposed | None:
        """Return the next plan of the list."""
        plan = next(self._plans, None)
        return None if plan is None else Proposed(plan)

    def tell(self, proposed: Proposed, found: Found) -> None:
        """Learn nothing."""


class Sampled:
    """Draws plans by one of Optuna's samplers with its own defaults, over one choice per variable."""

    def __init__(self, space: Space, sampler: str, seed: int) -> None:
        """Draw plans of `space` with the sampler of this name."""
        self._flat = FlatSampler(space, sampler, seed)

    def ask(self) -> Proposed | None:
        """Return what the sampler draws."""
        return Proposed(*self._flat.ask())

    def tell(self, proposed: Proposed, found: Found) -> None:
        """Forget a failure; take what is over the budget as infeasible by as much as it is over."""
        self._flat.tell(proposed.ticket, found.latency_ms, found.accuracy, found.over)


def grid(space: Space, seed: int) -> Iterator[Plan]:
    """Yield uniform designs from coarse to fine.

    Each width comes in 32 bits, in int8 after training, and in int8 trained for it. The order among widths that are
    equally coarse is the seed's.
    """
    draw = random.Random(seed)
    low = min((variable.parts[-1] for axis in SIZES for variable in space.of(axis)), default=1.0)
    widths = [low + (1 - low) * i / (WIDTHS - 1) for i in range(WIDTHS)]
    ways: list[tuple[int, Plan]] = [(32, space.taught)]
    if 8 in precisions(space):
        ways += [(8, space.taught), (8, space.taught.changed(AWARE))]
    for level in _coarse_to_fine(WIDTHS):
        designs = [(widths[i], *way) for i in level for way in ways]
        draw.shuffle(designs)
        yield from (uniform(space, *design) for design in designs)


def pipeline(space: Space, seed: int) -> Iterator[Plan]:
    """Yield what a good engineer runs by hand: prune every group alike, recover by distillation, then quantize.

    Both files of each student are shipped, and the teacher's int8 file costs no training.
    """
    shipped = (32, 8) if 8 in precisions(space) else (32,)
    yield from (space.uniform({"bits": bits}) for bits in shipped)
    for ratio in RATIOS:
        yield from (uniform(space, 1 - ratio, bits, space.taught.changed(BY_HAND)) for bits in shipped)


def _coarse_to_fine(count: int) -> Iterator[list[int]]:
    """Yield indices below `count`, a power of two plus one: the middle, the ends, the middles between those before."""
    step = (count - 1) // 2
    yield [step]
    yield [0, count - 1]
    while step > 1:
        yield list(range(step // 2, count - 1, step))
        step //= 2


RIVALS: dict[str, Callable[[Space, int], Rival]] = {
    "grid": lambda space, seed: Listed(grid(space, seed)),
    "pipeline": lambda space, seed: Listed(pipeline(space, seed)),
    "random": lambda space, seed: Sampled(space, "random", seed),
    "nsga2": lambda space, seed: Sampled(space, "nsga2", seed),
    "tpe": lambda space, seed: Sampled(space, "tpe", seed),
}
"""Name -> the rival over a space, with a seed."""
