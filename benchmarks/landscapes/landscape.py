"""The landscape seam: a space of plans over layers that do not exist, and what each student would be worth."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

from autocompress.spaces.groups import Group, Member
from autocompress.spaces.space import Indices, Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.spaces.variables import Variable

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


class Landscape(Protocol):
    """What a search sees of a network (space, surrogates, budget), and the truth behind it, which only scores use.

    A design is a row of option numbers, one for each variable in `space.network`.

    Attributes:
        name: Of the problem, with the number of its variables.
        seed: Another seed is another network.
        space: What is searched. Its network variables belong to the axes `channels` and `bits`.
        surrogates: What a look at the teacher would tell.
        budget_ms: Latency (ms) of the reference point of hypervolumes: what is slower does not count.
        has_budget: Whether a search is told so; else the whole front is wanted, up to the teacher.
        worst_error: Error of the reference point: what is worse does not count.
        examples: Number of images that an accuracy is a share of, None where accuracies are exact.
        latency_spread: Relative standard deviation of a measured latency.
    """

    name: str
    seed: int
    space: Space
    surrogates: Surrogates
    budget_ms: float
    has_budget: bool
    worst_error: float
    examples: int | None
    latency_spread: float

    def latency_ms(self, designs: Ints) -> Floats:
        """Return the true latencies (ms) [n] of designs [n, variables]."""
        ...

    def best_error(self, designs: Ints) -> Floats:
        """Return 1 - accuracy [n] of designs [n, variables] after full training, taught in the best way."""
        ...

    def error(self, spec: StudentSpec, part: float) -> float:
        """Return 1 - accuracy of a student after a part of its training, 0.0 to 1.0."""
        ...

    def reference(self) -> Floats:
        """Return the known front [k, 2] of (latency_ms, error)."""
        ...


def paper_group(
    name: str,
    channels: int,
    depth: float,
    kind: str,
    sides: tuple[tuple[str, str], ...],
    step: int = 1,
    widths: tuple[int, ...] = (),
) -> Group:
    """Return a group of layers that do not exist.

    Args:
        name: Of the group.
        channels: Their number.
        depth: Place in the network, 0.0 to 1.0.
        kind: "stream" or "inner".
        sides: (layer, "out" or "in") of its members.
        step: Counts are multiples of it.
        widths: How many numbers of each side go with one channel, where it is not one.
    """
    pairs = [tuple((i // width, i) for i in range(channels * width)) for width in widths] or [()] * len(sides)
    members = tuple(Member(layer, side, own, ()) for (layer, side), own in zip(sides, pairs, strict=True))
    return Group(name, channels, step, depth, kind, members, torch.ones(channels))


def role_class(variable: Variable) -> str:
    """Return a variable's role without the number of a stage."""
    return re.sub(r" \d+$", "", variable.role)


def words_rng(seed: int, *words: object) -> np.random.Generator:
    """Return a source of the same random numbers for the same seed and words, in every process."""
    return np.random.default_rng([seed, *"/".join(map(str, words)).encode()])


def indices_of(space: Space, spec: StudentSpec) -> Indices:
    """Return a student's design: the number of its option at each network variable."""
    chosen = (
        spec.channels.get(v.subject) if v.axis == "channels" else spec.bits.get(v.layers[0]) for v in space.network
    )
    return tuple(v.index(option) for v, option in zip(space.network, chosen, strict=True))


def row(landscape: Landscape, spec: StudentSpec) -> Ints:
    """Return one student's design as an array [1, variables]."""
    return np.array([indices_of(landscape.space, spec)], dtype=np.int64)


def student_key(spec: StudentSpec) -> str:
    """Return the word that stands for a student where random numbers are drawn for it.

    It is made of what a landscape knows of students and of nothing else: when specifications learn to say more, the
    landscapes stay as they are, and results of different versions can be compared.
    """
    known = {
        "channels": dict(spec.channels),
        "bits": dict(spec.bits),
        "patterns": {name: [pattern.kind, pattern.rate] for name, pattern in spec.patterns.items()},
        "recovery": None if spec.recovery is None else {"fresh": False, **spec.recovery.parts()},
    }
    text = json.dumps(known, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def shape_key(spec: StudentSpec) -> str:
    """Return the word for what decides latency."""
    return student_key(replace(spec, recovery=None))


def training_key(spec: StudentSpec) -> str:
    """Return the word for what decides the trained weights: bits count only when training sees them."""
    aware = spec.recovery is not None and spec.recovery.quantization_aware
    return student_key(spec if aware else replace(spec, bits={}))
