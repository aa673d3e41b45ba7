"""From a walk's atoms to sets of channels that can be removed one by one, each in all its places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .atoms import FIXED
from .labels import join, merged, squashed, varies
from .members import Counted, Slice
from .walk import Walk

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Channels:
    """Channels that are alike: each of them lies in the same places.

    Attributes:
        roots: [channels]; the atom that stands for each, in the order of the first place.
        blocks: Number of blocks of channels that must stay equally large.
    """

    roots: Ints
    blocks: int


def settle(walk: Walk) -> None:
    """Join what a grid of numbers forces together, until every value stays a grid whatever is removed."""
    _join_shared(walk)
    grids = [*walk.straight, *walk.bare.items()]
    why = "it lies in a grid with what cannot be removed"
    while True:
        changed = False
        for _, labels in grids:
            dims = [d for d in range(labels.ndim) if varies(walk.atoms, labels, d)]
            if len(dims) < 2:
                continue
            most = max(dims, key=lambda d: _classes_along(walk, labels, d))
            merged(walk.atoms, labels, [d for d in dims if d != most], why)
            changed = True
        for labels, dim in walk.numbered:
            if varies(walk.atoms, labels, dim) and _pin_new(walk, labels):
                changed = True
        if not changed:
            break
    for name, labels in walk.bare.items():
        for dim in range(labels.ndim):
            if varies(walk.atoms, labels, dim):
                walk.slices.append(Slice(name, dim, lead(labels, dim), "both"))


def _join_shared(walk: Walk) -> None:
    """Join what stands for one dimension of one parameter: layers that run twice, weights that layers share."""
    first: dict[tuple[int, int], Slice] = {}
    for part in walk.slices:
        same = first.setdefault((id(walk.attribute(part.parameter)), part.dim), part)
        if same is not part:
            if same.atoms.shape != part.atoms.shape:
                walk.pin([same.atoms, part.atoms], "its weights are used in two ways")
            else:
                join(walk.atoms, same.atoms, part.atoms, "its weights are used elsewhere, where it must stay")


def _pin_new(walk: Walk, labels: Tensor) -> bool:
    found = squashed(labels)[0].numpy()
    roots = np.unique(walk.atoms.roots(found)).tolist()
    new = any(walk.atoms.why_fixed(root) is None for root in roots)
    walk.atoms.pin(found, "it is taken by its number")
    return new


def lead(labels: Tensor, dim: int) -> Tensor:
    """Return the labels along one dimension, at the first index of all others."""
    moved = labels.movedim(dim, 0)
    return moved.reshape(len(moved), -1)[:, 0]


def find_channels(walk: Walk) -> list[Channels]:
    """Return all channels that can be removed, those that are alike together."""
    places: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    first: dict[int, tuple[int, int]] = {}
    for i, part in enumerate(walk.slices):
        roots = walk.atoms.roots(part.atoms.numpy())
        for index, root in enumerate(roots.tolist()):
            if root == FIXED or walk.atoms.why_fixed(root) is not None:
                continue
            places[root][i] += 1
            if part.side != "in":
                first.setdefault(root, (i, index))
    alike: dict[frozenset[tuple[int, int]], list[int]] = defaultdict(list)
    for root, where in places.items():
        if root in first:
            alike[frozenset(where.items())].append(root)
    found = []
    for members in alike.values():
        roots = np.array(sorted(members, key=lambda root: first[root]), dtype=np.int64)
        found += list(_even(walk, roots))
    return [c for c in found if len(c.roots) > 1]


def _even(walk: Walk, roots: Ints) -> Iterator[Channels]:
    blocks = 1
    place = {int(root): i for i, root in enumerate(roots)}
    for even in walk.evens:
        inside = walk.atoms.roots(even.atoms.numpy())
        at = np.array([place.get(int(root), -1) for root in inside])
        if (at < 0).all():
            continue
        rows = at.reshape(even.blocks, -1)
        size = len(roots) // even.blocks
        whole = len(roots) % even.blocks == 0 and (rows >= 0).all()
        if not whole or not all(set(row) == set(range(i * size, (i + 1) * size)) for i, row in enumerate(rows)):
            return  # channels in other blocks than those of the layer that writes them
        blocks = int(np.lcm(blocks, even.blocks))
    yield Channels(roots, blocks)


def _classes_along(walk: Walk, labels: Tensor, dim: int) -> int:
    return len(np.unique(walk.atoms.roots(squashed(lead(labels, dim))[0].numpy())))


def counts(walk: Walk, counted: Counted) -> Iterator[tuple[int, int]]:
    """Yield each class in a range along one dimension, and how often it stands there; none where all are one."""
    if varies(walk.atoms, counted.labels, counted.dim):
        found = walk.atoms.roots(lead(counted.labels, counted.dim)[counted.start : counted.stop].contiguous().numpy())
        values, many = np.unique(found, return_counts=True)
        yield from zip(values.tolist(), many.tolist(), strict=True)
