"""From a walk's atoms to sets of channels that can be removed one by one, each in all its places."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from .atoms import FIXED
from .labels import classes, join, lead, merged, squashed, tight, varied, varies
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
    walk.slices = [replace(part, side=walk.sides.get((part.parameter, part.dim), part.side)) for part in walk.slices]
    for part in walk.slices:
        if walk.attribute(part.parameter).shape[part.dim] * part.blocks != len(part.atoms):
            walk.pin(part.atoms, "its weights are laid out in an unknown way")
    _join_shared(walk)
    settle_grids(walk)


def settle_grids(walk: Walk) -> None:
    """Join what lies in one grid until channels change along one dimension of it alone."""
    grids = _different(walk, [labels for _, labels in walk.straight])
    why = "it lies in a grid with what cannot be removed"
    while True:
        changed = False
        for labels in grids:
            dims = varied(walk.atoms, labels)
            if len(dims) < 2:
                continue
            most = max(dims, key=lambda d: classes(walk.atoms, lead(labels, d)))
            merged(walk.atoms, labels, [d for d in dims if d != most], why)
            changed = True
        for labels, dim in walk.numbered:
            if varies(walk.atoms, labels, dim):
                walk.atoms.pin(squashed(labels)[0].numpy(), "it is taken by its number")
                changed = True
        if not changed:
            break


def _different(walk: Walk, grids: list[Tensor]) -> list[Tensor]:
    """Return labels of which more than one dimension changes, each only once."""
    found: dict[tuple[tuple[int, ...], bytes], Tensor] = {}
    for labels in grids:
        small = squashed(tight(labels))[0]
        if sum(size > 1 for size in small.shape) > 1:
            found.setdefault((tuple(small.shape), walk.atoms.roots(small.numpy()).tobytes()), small)
    return list(found.values())


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


def find_channels(walk: Walk) -> list[Channels]:
    """Return all channels that can be removed, those that are alike together."""
    while True:
        evens = [(walk.atoms.roots(even.atoms.numpy()), even.blocks) for even in walk.evens]
        touched: dict[int, list[int]] = defaultdict(list)
        for number, (inside, _) in enumerate(evens):
            for root in np.unique(inside).tolist():
                touched[root].append(number)
        found, uneven = [], set()
        for roots in _alike(walk):
            near = sorted({number for root in roots.tolist() for number in touched.get(root, ())})
            wrong, blocks = _blocks(roots, {number: evens[number] for number in near})
            uneven |= wrong
            found.append(Channels(roots, blocks))
        if not uneven:
            return [c for c in found if len(c.roots) > max(1, c.blocks)]
        for number in uneven:  # the same ones of each block go together
            even = walk.evens[number]
            rows = even.atoms.reshape(even.blocks, -1)
            join(walk.atoms, rows, rows[:1], "its blocks must stay equally large")
        settle_grids(walk)


def _alike(walk: Walk) -> list[Ints]:
    """Return the classes that can be removed, those together that lie in the same places."""
    places: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    first: dict[int, tuple[int, int]] = {}
    layers: set[int] = set()
    for i, part in enumerate(walk.slices):
        roots = walk.atoms.roots(part.atoms.numpy())
        for index, root in enumerate(roots.tolist()):
            if root != FIXED:
                places[root][i] += 1
                if part.side != "in":
                    first.setdefault(root, (i, index))
        if part.side != "both":
            layers.update(roots.tolist())
    alike: dict[frozenset[tuple[int, int]], list[int]] = defaultdict(list)
    for root, where in places.items():
        if root in first and root in layers:
            alike[frozenset(where.items())].append(root)
    return [np.array(sorted(roots, key=lambda root: first[root]), dtype=np.int64) for roots in alike.values()]


def _blocks(roots: Ints, evens: Mapping[int, tuple[Ints, int]]) -> tuple[set[int], int]:
    """Return where these channels cannot be kept even whatever is removed, and their blocks."""
    blocks, wrong = 1, set()
    place = {int(root): i for i, root in enumerate(roots)}
    for number, (inside, many) in evens.items():
        rows = np.array([place.get(int(root), -1) for root in inside]).reshape(many, -1)
        size = len(roots) // many
        if all(np.array_equal(np.sort(row), np.sort(rows[0])) for row in rows):
            continue  # each of them lies in every block
        whole = len(roots) % many == 0 and (rows >= 0).all()
        if whole and all(set(row) == set(range(i * size, (i + 1) * size)) for i, row in enumerate(rows.tolist())):
            blocks = int(np.lcm(blocks, many))
        else:
            wrong.add(number)
    return wrong, blocks


def places_of(walk: Walk, alike: Sequence[Channels]) -> list[list[tuple[Slice, Ints]]]:
    """Return for each set of channels the parts of parameters that it touches, each with its classes."""
    owner = {int(root): i for i, channels in enumerate(alike) for root in channels.roots}
    found: list[list[tuple[Slice, Ints]]] = [[] for _ in alike]
    for part in walk.slices:
        roots = walk.atoms.roots(part.atoms.numpy())
        for i in sorted({owner[root] for root in np.unique(roots).tolist() if root in owner}):
            found[i].append((part, roots))
    return found


def counts(walk: Walk, counted: Counted) -> Iterator[tuple[int, int]]:
    """Yield each class in a range along one dimension, and how often it stands there; none where all are one."""
    if varies(walk.atoms, counted.labels, counted.dim):
        found = walk.atoms.roots(lead(counted.labels, counted.dim)[counted.start : counted.stop].contiguous().numpy())
        values, many = np.unique(found, return_counts=True)
        yield from zip(values.tolist(), many.tolist(), strict=True)
