"""A simulated network: what its students are worth, and what a look at the teacher alone would tell of it.

The harm of a design (nats) is a sum over variables, convex in the logarithm of what is kept, of sensitivities drawn at
random with a trend along the depth. In the interacting flavour pairs of variables add to it or take from it, and narrow
layers suffer more from few bits. Training repairs a part of the harm of each variable, another part at each: what hurts
most before training is not what hurts most after. How much is repaired depends on how the student is taught, and the
best way on how much there is to repair; learning curves differ and cross. What else may be peculiar to a
network is told in `Flavour`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autocompress.spaces.space import build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates

from .flavours import FLAVOURS, mislead
from .landscape import Floats, Ints, role_class, row, shape_key, training_key, words_rng
from .network import TEACHER_MS, PaperDevice
from .teaching import Teaching

TEACHER_ERROR = 0.07
HALF_HARM = 0.04
"""Harm (nats) that the best training leaves where half the channels are kept everywhere, in 8 bits."""
WORST_LOSS = 0.1
"""Accuracy that the reference point of hypervolumes has lost; worse students are of no use to anybody."""
BITS_HARM = {32: 0.0, 16: 0.02, 8: 0.3}
SPREAD = 0.5
"""Spread of the logarithm of sensitivities: uniform designs then lose 1 to 2 points of accuracy to the best ones."""
AWARE = 0.4
"""Part of the harm of 8 bits that stays when training sees them."""
LOOK_ERROR = 0.25
"""Spread of the logarithm of what a look at one variable alone makes of its harm. It ranks the variables' harm after
training with a correlation of 0.7 to 0.8, as divergences do on real networks."""
PREDICTION_ERROR = 0.05
EMBEDDING_SHARE = 0.5
"""Sensitivity of the one embedding, as a part of that of all other widths together. It saves most of the cost, so that
it must not be cheap."""


@dataclass(frozen=True)
class NoisyLatency:
    """Predicts the true latency with an error that stays the same for each shape.

    Where the flavour says so it also overrates what the variables of a role save.

    Attributes:
        network: What is predicted.
        relative_error: Of half of the predictions.
    """

    network: SimulatedNetwork
    relative_error: float = PREDICTION_ERROR * 0.674  # the median of a normal error

    def predict_ms(self, spec: StudentSpec) -> float:
        """Return the predicted latency in milliseconds."""
        noise = PREDICTION_ERROR * words_rng(self.network.seed, "predicted", shape_key(spec)).normal()
        return float(self._without_noise(row(self.network, spec)) * math.exp(noise))

    def _without_noise(self, design: Ints) -> float:
        ms = float(self.network.latency_ms(design)[0])
        for role, part in self.network.flavour.overrated.items():
            decided = np.array([variable.role == role for variable in self.network.space.network])
            saved_ms = float(self.network.latency_ms(np.where(decided, 0, design))[0]) - ms
            ms -= part * saved_ms
        return ms


class SimulatedNetwork:
    """A network whose truth is drawn at random. The attributes of every landscape are told in `Landscape`."""

    def __init__(self, decisions: int, seed: int, flavour: str, share: float = 0.45, has_budget: bool = True) -> None:
        """Draw a network.

        Args:
            decisions: Number of its network variables.
            seed: Another seed is another network.
            flavour: One of FLAVOURS.
            share: The budget, as a part of the teacher's latency.
            has_budget: Whether a search is told the budget; else hypervolumes are those of the whole front, up to the
                teacher's latency.
        """
        self.name = f"network-{flavour}-{decisions}" + ("" if has_budget else "-whole")
        self.seed, self.flavour, self.has_budget = seed, FLAVOURS[flavour], has_budget
        self.budget_ms, self.worst_error = TEACHER_MS * (share if has_budget else 1), TEACHER_ERROR + WORST_LOSS
        self.examples: int | None = 5000
        self.latency_spread = 0.01
        context = self.flavour.make(decisions)
        self.space = build_space(context, ("channels", "bits", *(["recovery"] if self.flavour.teaching else [])))
        self.latency_ms = PaperDevice(context, self.space.network)
        self._teaching = Teaching(seed)
        rng = words_rng(seed, "network")
        self._draw(rng)
        self._half = np.array([self.space.indices(self.space.uniform({"channels": 0.5, "bits": 8}))])
        self._sums_at_half = self._sums(self._half, 1.0, True)[0]
        self.surrogates = Surrogates(self._looks(rng), {"onnxruntime": NoisyLatency(self)})

    def best_error(self, designs: Ints) -> Floats:
        """Return 1 - accuracy [n] of designs [n, variables] after full training, taught in the best way."""
        return _error(self._left(designs, 1.0, True))

    def error(self, spec: StudentSpec, part: float) -> float:
        """Return 1 - accuracy of a student after a part of its training, 0.0 to 1.0."""
        design = row(self, spec)
        untaught = self._left(design, 0.0, False)
        if spec.recovery is None or not part:
            return float(_error(untaught)[0])
        severity = float(untaught[0]) / self._half_untaught
        learnt = self._teaching.learnt(spec.recovery, severity, part, training_key(spec))
        if not self.flavour.teaching:
            return float(_error(self._left(design, learnt, True))[0])
        quality = self._teaching.quality(spec.recovery, severity)
        return float(_error(self._left(design, quality * learnt, spec.recovery.quantization_aware))[0])

    def reference(self) -> Floats:
        """Return the best front that a long search on the truth finds."""
        from .reference import searched_front

        return searched_front(self)

    @cached_property
    def _half_untaught(self) -> float:
        return float(self._left(self._half, 0.0, False)[0])

    def _draw(self, rng: np.random.Generator) -> None:
        variables = self.space.network  # channels first, then bits, each in order of execution
        count = len(variables)
        channels = [v.axis == "channels" for v in variables]
        depth = np.array([v.depth for v in variables])
        share = np.array([1.0 if c else sum(channels) / max(1, count - sum(channels)) for c in channels])
        shared = EMBEDDING_SHARE * (sum(channels) - 1)
        stream = np.array([shared if v.role == "embedding" else 2.0 if v.in_stream else 1.0 for v in variables])
        trend = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.8)
        sensitivity = share * stream * np.exp(rng.normal(0, SPREAD, count) + trend * (2 * depth - 1))
        power = rng.uniform(1.3, 2.0, count)
        self._harm, self._narrowed = [], []
        for variable, s, p in zip(variables, sensitivity, power, strict=True):
            options = [float(option) for option in variable.options]
            if variable.axis == "channels":
                lost = np.log(options[0] / np.array(options))
                self._harm.append(s * lost**p)
                self._narrowed.append(lost)
            else:
                self._harm.append(s * np.array([BITS_HARM[int(option)] for option in options]))
                self._narrowed.append(np.zeros(len(options)))
        self._repaired = rng.uniform(0.6, 0.95, count)
        self._is_bits = ~np.array(channels)
        inside = [[set(w.layers) & set(v.layers) and w.axis == "channels" for w in variables] for v in variables]
        weights = np.array(inside, dtype=bool) * self._is_bits[:, None]
        self._within = weights / np.maximum(1, weights.sum(axis=1, keepdims=True))
        near = [(i, i + 1) for i in range(count - 1)]
        far = [tuple(rng.choice(count, 2, replace=False)) for _ in range(count)]
        self._pairs = np.array([*near, *far])
        self._strength = rng.uniform(-0.25, 0.5, len(self._pairs))
        # what is summed before the power is taken: the variables, and the pairs by the first of the two
        kinds = np.array([f"{v.axis} {role_class(v)}" for v in variables])
        of_kinds: list[Ints] = [(kinds == kind).nonzero()[0] for kind in dict.fromkeys(kinds)]
        self._parts: list[Ints | slice] = [*of_kinds] if self.flavour.by_role else [slice(None)]
        self._pair_parts: list[Ints | slice] = [slice(None)]
        if self.flavour.by_role:
            self._pair_parts = [np.isin(self._pairs[:, 0], part).nonzero()[0] for part in of_kinds]

    def _left(self, designs: Ints, repaired: float, aware: bool) -> Floats:
        """Return the harm [n] of designs [n, variables] when so much of what can be repaired was."""
        return self._linked(self._sums(designs, repaired, aware))

    def _linked(self, sums: Floats) -> Floats:
        """Return the loss (nats) [n] that sums [n, parts] of harm make; HALF_HARM where half the channels are kept."""
        at_half = self._sums_at_half
        if self.flavour.power == 1:
            return np.asarray(HALF_HARM / float(at_half.sum()) * sums.sum(axis=1))
        return np.asarray(HALF_HARM * (sums / at_half) ** self.flavour.power @ (at_half / at_half.sum()))

    def _sums(self, designs: Ints, repaired: float, aware: bool) -> Floats:
        """Return the harm [n, parts] that is summed."""
        harm = np.stack([known[designs[:, i]] for i, known in enumerate(self._harm)], axis=1)
        if aware:
            harm = np.where(self._is_bits, AWARE * harm, harm)
        if self.flavour.interacting:
            narrow = np.stack([known[designs[:, i]] for i, known in enumerate(self._narrowed)], axis=1)
            harm = harm * (1 + narrow @ self._within.T)
        left = harm * (1 - repaired * self._repaired)
        total = np.stack([left[:, part].sum(axis=1) for part in self._parts], axis=1)
        if self.flavour.interacting:
            first, second = self._pairs.T
            pairs = self._strength * np.sqrt(left[:, first] * left[:, second])
            more = np.stack([pairs[:, part].sum(axis=1) for part in self._pair_parts], axis=1)
            total = np.maximum(total + more, 0.2 * total)
        return np.asarray(total)

    def _looks(self, rng: np.random.Generator) -> dict[str, tuple[float, ...]]:
        """Return what each option of each variable alone does to the untrained teacher, as far as a look can tell."""
        looks, variables = {}, self.space.network
        alone = [self._alone(i) for i in range(len(variables))]
        for variable, harm in zip(variables, alone, strict=True):
            seen = harm * math.exp(LOOK_ERROR * rng.normal())
            looks[variable.name] = tuple(map(float, seen * np.exp(0.1 * rng.normal(size=len(seen)))))
        for role, how in self.flavour.misled.items():
            chosen = [i for i, variable in enumerate(variables) if variable.role == role]
            truth = [float(alone[i][-1]) for i in chosen]
            looks = mislead(looks, [variables[i] for i in chosen], truth, how, self.seed)
        return looks

    def _alone(self, variable: int) -> Floats:
        """Return what each option of one variable does to the untrained teacher, in nats."""
        harm = self._harm[variable]
        sums = np.zeros((len(harm), len(self._parts)))
        inside = [isinstance(part, slice) or variable in part for part in self._parts]
        sums[:, inside.index(True)] = harm
        return self._linked(sums)


def _error(harm: Floats) -> Floats:
    return np.asarray(1 - (1 - TEACHER_ERROR) * np.exp(-harm))
