"""A simulated network: what its students are worth, and what a look at the teacher alone would tell of it.

The harm of a design (nats) is a sum over variables, convex in the logarithm of what is kept, of sensitivities drawn at
random with a trend along the depth. In the interacting flavour pairs of variables add to it or take from it, and narrow
layers suffer more from few bits. Training repairs a part of the harm of each variable, another part at each: what hurts
most before training is not what hurts most after. How much is repaired depends on how the student is taught, and the
best way on how much there is to repair; learning curves differ and cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autocompress.spaces.space import build_space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates

from .landscape import Floats, Ints, row, shape_key, training_key, words_rng
from .network import TEACHER_MS, PaperDevice, paper_network
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


@dataclass(frozen=True)
class NoisyLatency:
    """Predicts the true latency with an error that stays the same for each shape.

    Attributes:
        network: What is predicted.
        relative_error: Of half of the predictions.
    """

    network: SimulatedNetwork
    relative_error: float = PREDICTION_ERROR * 0.674  # the median of a normal error

    def predict_ms(self, spec: StudentSpec) -> float:
        """Return the predicted latency in milliseconds."""
        noise = PREDICTION_ERROR * words_rng(self.network.seed, "predicted", shape_key(spec)).normal()
        return float(self.network.latency_ms(row(self.network, spec))[0] * math.exp(noise))


class SimulatedNetwork:
    """A network whose truth is drawn at random. The attributes of every landscape are told in `Landscape`."""

    def __init__(self, decisions: int, seed: int, interacting: bool, share: float = 0.45) -> None:
        """Draw a network.

        Args:
            decisions: Number of its network variables.
            seed: Another seed is another network.
            interacting: Whether variables do harm together that they do not do alone.
            share: The budget, as a part of the teacher's latency.
        """
        self.name = f"network-{'interacting' if interacting else 'additive'}-{decisions}"
        self.seed, self.interacting = seed, interacting
        self.budget_ms, self.worst_error = share * TEACHER_MS, TEACHER_ERROR + WORST_LOSS
        self.examples: int | None = 5000
        self.latency_spread = 0.01
        context = paper_network(decisions)
        self.space = build_space(context, ("channels", "bits", "recovery"))
        self.latency_ms = PaperDevice(context, self.space.network)
        self._teaching = Teaching(seed)
        rng = words_rng(seed, "network")
        self._draw(rng)
        self._half = np.array([self.space.indices(self.space.uniform({"channels": 0.5, "bits": 8}))])
        self._scale = 1.0
        self._scale = HALF_HARM / float(self._left(self._half, 1.0, True)[0])
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
        quality = self._teaching.quality(spec.recovery, severity)
        learnt = self._teaching.learnt(spec.recovery, severity, part, training_key(spec))
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
        stream = np.array([2.0 if v.in_stream else 1.0 for v in variables])
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

    def _left(self, designs: Ints, repaired: float, aware: bool) -> Floats:
        """Return the harm [n] of designs [n, variables] when so much of what can be repaired was."""
        harm = np.stack([known[designs[:, i]] for i, known in enumerate(self._harm)], axis=1)
        if aware:
            harm = np.where(self._is_bits, AWARE * harm, harm)
        if self.interacting:
            narrow = np.stack([known[designs[:, i]] for i, known in enumerate(self._narrowed)], axis=1)
            harm = harm * (1 + narrow @ self._within.T)
        left = harm * (1 - repaired * self._repaired)
        total = left.sum(axis=1)
        if self.interacting:
            first, second = self._pairs.T
            pairs = self._strength * np.sqrt(left[:, first] * left[:, second])
            total = np.maximum(total + pairs.sum(axis=1), 0.2 * total)
        return np.asarray(self._scale * total)

    def _looks(self, rng: np.random.Generator) -> dict[str, tuple[float, ...]]:
        """Return what each option of each variable alone does to the untrained teacher, as far as a look can tell."""
        looks = {}
        for variable, harm in zip(self.space.network, self._harm, strict=True):
            seen = self._scale * harm * math.exp(LOOK_ERROR * rng.normal())
            looks[variable.name] = tuple(map(float, seen * np.exp(0.1 * rng.normal(size=len(seen)))))
        return looks


def _error(harm: Floats) -> Floats:
    return np.asarray(1 - (1 - TEACHER_ERROR) * np.exp(-harm))
