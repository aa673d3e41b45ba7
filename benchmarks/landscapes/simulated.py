"""A simulated network: what its students are worth, and what a look at the teacher alone would tell of it.

The damage of a plan (nats) is a sum over sites, convex in the logarithm of what is kept, of sensitivities drawn at
random with a trend along the depth. In the interacting flavour pairs of sites add to it or take from it, and narrow
layers suffer more from few bits. Training repairs a part of each site's damage, another part at each: what hurts most
before training is not what hurts most after. How much depends on how the student is taught, and the best way on how
much there is to repair; learning curves differ and cross.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from autocompress.spaces.plan import Plan
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import build_space
from autocompress.spaces.surrogates import Guide

from .landscape import Floats, Ints, plan_rng, row
from .network import TEACHER_MS, PaperDevice, paper_network
from .teaching import Teaching

TEACHER_ERROR = 0.07
HALF_DAMAGE = 0.04
"""Left after the best training (nats) of half the channels everywhere in 8 bits."""
WORST_LOSS = 0.1
"""Of accuracy: the reference point of hypervolumes; worse students are of no use to anybody."""
BITS_DAMAGE = {32: 0.0, 16: 0.02, 8: 0.3}
SPREAD = 0.5
"""Of the logarithm of sensitivities: uniform designs then lose 1 to 2 points of accuracy to the best ones."""
AWARE = 0.4
"""Part of the damage of 8 bits that stays when training sees them."""
LOOK_ERROR = 0.25
"""Spread of the logarithm of what a look at one site alone makes of its damage: it ranks the sites' damage after
training with a correlation of 0.7 to 0.8, as divergences do on real networks."""
PREDICTION_ERROR = 0.05


@dataclass(frozen=True)
class NoisyLatency:
    """Predicts the true latency with an error that stays the same for each plan."""

    network: SimulatedNetwork
    relative_error: float = PREDICTION_ERROR * 0.674  # the median of a normal error

    def predict_ms(self, plan: Plan) -> float:
        noise = PREDICTION_ERROR * plan_rng(self.network.seed, "predicted", plan.shape_key()).normal()
        return float(self.network.latency_ms(row(self.network, plan))[0] * math.exp(noise))


class SimulatedNetwork:
    """A network of `decisions` sites; another seed is another network. share: the budget, of the teacher's latency."""

    def __init__(self, decisions: int, seed: int, interacting: bool, share: float = 0.45) -> None:
        self.name = f"network-{'interacting' if interacting else 'additive'}-{decisions}"
        self.seed, self.interacting = seed, interacting
        self.budget_ms, self.worst_error = share * TEACHER_MS, TEACHER_ERROR + WORST_LOSS
        self.examples: int | None = 5000
        self.latency_spread = 0.01
        ground = paper_network(decisions)
        self.space = build_space(ground, ("width", "channels", "bits", "recovery"))
        self.sites = Sites(self.space)
        self.latency_ms = PaperDevice(ground, self.sites)
        self._teaching = Teaching(seed)
        rng = plan_rng(seed, "network")
        self._draw(rng)
        half = self.sites.choices(self.space.uniform(0.5, 8, None))
        self._scale = 1.0
        self._scale = HALF_DAMAGE / float(self._left(np.array([half]), 1.0, True)[0])
        self.guide = Guide(self._looks(rng), {"onnxruntime": NoisyLatency(self)})

    def best_error(self, choices: Ints) -> Floats:
        return _error(self._left(choices, 1.0, True))

    def error(self, plan: Plan, part: float) -> float:
        choices = row(self, plan)
        aware = plan.recovery is not None and plan.recovery.quantization_aware
        if plan.recovery is None or not part:
            return float(_error(self._left(choices, 0.0, False))[0])
        severity = float(self._left(choices, 0.0, False)[0]) / self._half_raw
        quality = self._teaching.quality(plan.recovery, severity)
        learnt = self._teaching.learnt(plan.recovery, severity, part, plan.training_key())
        return float(_error(self._left(choices, quality * learnt, aware))[0])

    def reference(self) -> Floats:
        from .reference import searched_front

        return searched_front(self)

    @cached_property
    def _half_raw(self) -> float:
        half = self.sites.choices(self.space.uniform(0.5, 8, None))
        return float(self._left(np.array([half]), 0.0, False)[0])

    def _draw(self, rng: np.random.Generator) -> None:
        count, all_sites = len(self.sites), self.sites.all
        channels = [site.kind == "channels" for site in all_sites]
        depth = np.array([site.depth for site in all_sites])
        share = np.array([1.0 if c else sum(channels) / max(1, count - sum(channels)) for c in channels])
        stream = np.array([1.0 if site.inner or site.kind == "bits" else 2.0 for site in all_sites])
        trend = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.8)
        sensitivity = share * stream * np.exp(rng.normal(0, SPREAD, count) + trend * (2 * depth - 1))
        power = rng.uniform(1.3, 2.0, count)
        self._damage, self._narrowed = [], []
        for site, s, p in zip(all_sites, sensitivity, power, strict=True):
            options = [float(str(option)) for option in site.options]
            if site.kind == "channels":
                lost = np.log(options[0] / np.array(options))
                self._damage.append(s * lost**p)
                self._narrowed.append(lost)
            else:
                self._damage.append(s * np.array([BITS_DAMAGE[int(option)] for option in options]))
                self._narrowed.append(np.zeros(len(options)))
        self._repaired = rng.uniform(0.6, 0.95, count)
        self._is_bits = ~np.array(channels)
        inside = [[set(g.layers) & set(site.layers) and g.kind == "channels" for g in all_sites] for site in all_sites]
        weights = np.array(inside, dtype=bool) * self._is_bits[:, None]
        self._within = weights / np.maximum(1, weights.sum(axis=1, keepdims=True))
        near = [(i, i + 1) for i in range(count - 1)]
        far = [tuple(rng.choice(count, 2, replace=False)) for _ in range(count)]
        self._pairs = np.array([*near, *far])
        self._strength = rng.uniform(-0.25, 0.5, len(self._pairs))

    def _left(self, choices: Ints, repaired: float, aware: bool) -> Floats:
        """Damage [n] of choices [n, sites] when so much of what can be repaired was."""
        damage = np.stack([known[choices[:, i]] for i, known in enumerate(self._damage)], axis=1)
        if aware:
            damage = np.where(self._is_bits, AWARE * damage, damage)
        if self.interacting:
            narrow = np.stack([known[choices[:, i]] for i, known in enumerate(self._narrowed)], axis=1)
            damage = damage * (1 + narrow @ self._within.T)
        left = damage * (1 - repaired * self._repaired)
        total = left.sum(axis=1)
        if self.interacting:
            first, second = self._pairs.T
            pairs = self._strength * np.sqrt(left[:, first] * left[:, second])
            total = np.maximum(total + pairs.sum(axis=1), 0.2 * total)
        return np.asarray(self._scale * total)

    def _looks(self, rng: np.random.Generator) -> dict[str, tuple[float, ...]]:
        """What each option of each site alone does to the untrained teacher, as far as a look can tell."""
        looks = {}
        for i, site in enumerate(self.sites):
            seen = self._scale * self._damage[i] * math.exp(LOOK_ERROR * rng.normal())
            looks[site.name] = tuple(map(float, seen * np.exp(0.1 * rng.normal(size=len(seen)))))
        return looks


def _error(damage: Floats) -> Floats:
    return np.asarray(1 - (1 - TEACHER_ERROR) * np.exp(-damage))
