"""Test problems of multi-objective optimization as networks: each variable is a group of channels with 17 counts.

They are ZDT1-4 and ZDT6 (Zitzler, Deb, Thiele 2000, doi:10.1162/106365600568202) and DTLZ2 (Deb et al. 2002,
doi:10.1109/CEC.2002.1007032). f1 plays the latency, known at the gate and under a budget; f2 plays 1 - accuracy. In the
plain flavour all optima lie at one channel count, so that uniform designs and every low-dimensional description find
them by symmetry: it flatters them. In the shifted flavour each variable but the first has its optimum at a count drawn
at random, which leaves the front as it is: only what moves single groups can find it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from autocompress.spaces.context import SpaceContext
from autocompress.spaces.layers import Layer
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.spaces.target import Capabilities

from .landscape import Floats, Ints, paper_group, row, student_key, words_rng

NAMES = ("zdt1", "zdt2", "zdt3", "zdt4", "zdt6", "dtlz2")
LEVELS = 17
STEP = 16
MS_PER_F1 = 9.0
CENTRED = ("zdt4", "dtlz2")
"""Problems whose variables have their optimum in the middle of their range; others have it at the lower end."""


@dataclass
class TestProblem:
    """One problem, known exactly.

    Nothing is noisy and nothing is known before a training, which only blurs f2 until it is done. The attributes of
    every landscape are told in `Landscape`.

    Attributes:
        problem: One of NAMES.
        dimensions: Number of variables.
        shifted: Whether the optima are drawn at random.
    """

    problem: str
    dimensions: int
    seed: int
    shifted: bool
    has_budget: bool = True
    examples: int | None = None
    latency_spread: float = 0.0
    surrogates: Surrogates = field(default_factory=Surrogates)
    worst_error: float = 1.0

    def __post_init__(self) -> None:
        self.name = f"{self.problem}{'-shifted' if self.shifted else ''}-{self.dimensions}"
        self.name += "" if self.has_budget else "-whole"
        self.space = _space(self.dimensions)
        plain = (LEVELS - 1) // 2 if self.problem in CENTRED else 0
        self._optimum = np.full(self.dimensions, plain)
        if self.shifted:
            self._optimum[1:] = words_rng(self.seed, "shift").integers(0, LEVELS, self.dimensions - 1)
        self._function = _function(self.problem, self.dimensions)
        front = self._values(self._optimal())
        limit = float(np.median(front[:, 0])) if self.problem.startswith("zdt") else 0.7
        if not self.has_budget:
            limit = float(front[:, 0].max())
        self.budget_ms: float = 1.0 + MS_PER_F1 * limit

    def latency_ms(self, designs: Ints) -> Floats:
        """Return f1 in milliseconds."""
        return np.asarray(1.0 + MS_PER_F1 * self._values(designs)[:, 0])

    def best_error(self, designs: Ints) -> Floats:
        """Return f2 on a scale from 0 to 1 that keeps its order and has its detail where the front is."""
        f2 = self._values(designs)[:, 1] + (1.0 if self.problem == "zdt3" else 0.0)
        return np.asarray(f2 / (1 + f2))

    def error(self, spec: StudentSpec, part: float) -> float:
        """Return f2, blurred as long as the training is not done."""
        final = float(self.best_error(row(self, spec))[0])
        lag = 0.3 * abs(words_rng(self.seed, student_key(spec)).normal()) * (1 - part)
        return final + (1 - final) * min(1.0, lag)

    def reference(self) -> Floats:
        """Return the front itself: every level of the first variable, the others at their optima."""
        designs = self._optimal()
        found = np.stack([self.latency_ms(designs), self.best_error(designs)], axis=1)
        return found[found[:, 0] <= self.budget_ms]

    def _optimal(self) -> Ints:
        designs = np.tile(self._optimum, (LEVELS, 1))
        designs[:, 0] = np.arange(LEVELS)
        return designs

    def _values(self, designs: Ints) -> Floats:
        apart = (designs - self._optimum) / np.maximum(self._optimum, LEVELS - 1 - self._optimum)
        x = 0.5 + apart / 2 if self.problem in CENTRED else np.abs(apart)
        x[:, 0] = designs[:, 0] / (LEVELS - 1)
        if self.problem == "zdt4":
            x[:, 1:] = 10 * x[:, 1:] - 5  # its own range
        return np.asarray(self._function.evaluate(x))


def _function(name: str, variables: int):  # type: ignore[no-untyped-def]
    from pymoo.problems.many.dtlz import DTLZ2
    from pymoo.problems.multi import zdt

    if name == "dtlz2":
        return DTLZ2(n_var=variables, n_obj=2)
    return getattr(zdt, name.upper())(n_var=variables)


def _space(dimensions: int) -> Space:
    """Return one layer after another, each with a group of LEVELS channel counts; all channels are level 0."""
    channels = LEVELS * STEP
    depth = [i / dimensions for i in range(dimensions + 1)]
    weights = channels * channels
    layers = tuple(
        Layer(f"layer{i:03}", "conv", depth[i], weights, weights * 64, 64, (channels, channels, 1, 1))
        for i in range(dimensions + 1)
    )
    groups = tuple(
        paper_group(here.name, channels, here.depth, "inner", ((here.name, "out"), (after.name, "in")))
        for here, after in pairwise(layers)
    )
    context = SpaceContext(layers, groups, Capabilities((32,), (), STEP), min_fraction=0.0)
    return build_space(context, ("channels",))
