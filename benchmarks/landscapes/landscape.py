"""The landscape seam: a space of plans over layers that do not exist, and what each plan would be worth."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch

from autocompress.spaces.groups import Group, Member
from autocompress.spaces.plan import Plan
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space
from autocompress.spaces.surrogates import Guide

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Landscape(Protocol):
    """What a search sees of a network (space, guide, budget), and the truth behind it, which only scores use.

    budget_ms, worst_error: the reference point of hypervolumes; nothing beyond either of them counts. examples: images
    that an accuracy is a share of, None where accuracies are exact. latency_spread: relative standard deviation of a
    measured latency. latency_ms(choices [n, sites]), best_error(choices): the truth [n] of designs, one option number
    for each site; best_error is 1 - accuracy after full training taught in the best way. error(plan, part): 1 -
    accuracy after a part of the training, 0 to 1. reference(): the known front [k, 2] of (latency_ms, error).
    """

    name: str
    seed: int
    space: Space
    sites: Sites
    guide: Guide
    budget_ms: float
    worst_error: float
    examples: int | None
    latency_spread: float

    def latency_ms(self, choices: Ints) -> Floats: ...

    def best_error(self, choices: Ints) -> Floats: ...

    def error(self, plan: Plan, part: float) -> float: ...

    def reference(self) -> Floats: ...


def paper_group(name: str, channels: int, depth: float, kind: str, sides: tuple[tuple[str, str], ...]) -> Group:
    """A group of layers that do not exist. sides: (layer, "out" or "in")."""
    members = tuple(Member(layer, side, (), _no_module) for layer, side in sides)
    return Group(name, channels, 1, depth, kind, members, torch.ones(channels))


def plan_rng(seed: int, *what: object) -> np.random.Generator:
    """The same random numbers for the same words, in every process."""
    return np.random.default_rng([seed, *"/".join(map(str, what)).encode()])


def row(landscape: Landscape, plan: Plan) -> Ints:
    """One plan as choices [1, sites]."""
    return np.array([landscape.sites.choices(plan)], dtype=np.int64)


def _no_module(module: Any, indices: list[int]) -> Any:
    raise NotImplementedError("a landscape has no modules to prune")
