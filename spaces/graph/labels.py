"""Label tensors: for each element of a value, the atom that it goes with. Shape as the value's, batch of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .atoms import FIXED, Atoms


@dataclass(frozen=True)
class Factors:
    """Labels of a value that can lose indices of several dimensions, each for a reason of its own, as a weight can.

    Attributes:
        parts: Label tensors of one shape, which change along different dimensions. An element goes with the first of
            its atoms that goes.
    """

    parts: tuple[Tensor, ...]

    @property
    def shape(self) -> torch.Size:
        """The shape of the value."""
        return self.parts[0].shape

    @property
    def ndim(self) -> int:
        """The number of dimensions of the value."""
        return self.parts[0].ndim


def parts_of(labels: Tensor | Factors) -> tuple[Tensor, ...]:
    """Return the label tensors of a value, mostly one."""
    return labels.parts if isinstance(labels, Factors) else (labels,)


def united(atoms: Atoms, parts: Sequence[Tensor], shape: Sequence[int]) -> Tensor | Factors:
    """Return label tensors as the labels of one value.

    Where two of them change along the same dimension, the one with fewer classes stays whole.

    Args:
        atoms: All atoms.
        parts: Label tensors that can be broadcast to the shape.
        shape: Of the value.
    """
    whole = [part.expand(tuple(shape)) for part in parts]
    if len(whole) < 2:
        return whole[0] if whole else fixed(shape)
    by_classes = sorted(((classes(atoms, part), -i, part) for i, part in enumerate(whole)), reverse=True)
    taken: set[int] = set()
    kept: list[Tensor] = []
    for _, _, part in by_classes:
        dims = set(varied(atoms, part))
        if not dims:
            continue
        if dims & taken:
            if not any(_same(atoms, part, other) for other in kept):
                atoms.pin(squashed(part)[0].numpy(), "it lies in one dimension with other channels")
            continue
        taken |= dims
        kept.append(part)
    if len(kept) > 1:
        return Factors(tuple(kept))
    return kept[0] if kept else whole[0]


def _same(atoms: Atoms, first: Tensor, second: Tensor) -> bool:
    a, b = (atoms.roots(part.numpy()) for part in squashed(first, second))
    return bool((a == b).all())


def fixed(shape: Sequence[int]) -> Tensor:
    """Return labels of a value that always stays whole."""
    return torch.full((), FIXED, dtype=torch.int64).expand(tuple(shape))


def along(atoms: Tensor, dim: int, shape: Sequence[int]) -> Tensor:
    """Return labels [shape] that change along one dimension only; `atoms` has as many as it is long."""
    view = [1] * len(shape)
    view[dim] = -1
    return atoms.reshape(view).expand(tuple(shape))


def squashed(*labels: Tensor) -> list[Tensor]:
    """Return labels broadcast to one shape, without the dimensions along which none of them changes by its strides."""
    kept: list[Tensor] = list(torch.broadcast_tensors(*labels))  # type: ignore[no-untyped-call]
    for dim in range(kept[0].ndim):
        if kept[0].shape[dim] > 1 and all(part.stride(dim) == 0 for part in kept):
            kept = [part.narrow(dim, 0, 1) for part in kept]
    return kept


def tight(labels: Any) -> Any:
    """Return labels that take memory for those dimensions alone along which they change."""
    if isinstance(labels, Factors):
        return Factors(tuple(tight(part) for part in labels.parts))
    if isinstance(labels, list | tuple):
        return [tight(part) for part in labels]
    if not isinstance(labels, Tensor) or labels.numel() < 2:
        return labels
    found = squashed(labels)[0]
    for dim in range(found.ndim):
        if found.shape[dim] > 1:
            first = found.narrow(dim, 0, 1)
            if torch.equal(found.narrow(dim, -1, 1), first) and bool((found == first).all()):
                found = first
    return found.expand(labels.shape)


def join(atoms: Atoms, first: Tensor, second: Tensor, why: str) -> None:
    """Join two label tensors element by element, after broadcasting."""
    a, b = squashed(first, second)
    atoms.join(a.numpy(), b.numpy(), why)


def varies(atoms: Atoms, labels: Tensor, dim: int) -> bool:
    """Return whether classes change along a dimension."""
    if labels.shape[dim] < 2 or labels.stride(dim) == 0:
        return False
    found = torch.from_numpy(atoms.roots(squashed(labels)[0].numpy()))
    return bool((found != found.narrow(dim, 0, 1)).any())


def varied(atoms: Atoms, labels: Tensor) -> list[int]:
    """Return the dimensions along which classes change."""
    if labels.numel() < 2:
        return []
    found = torch.from_numpy(atoms.roots(squashed(labels)[0].numpy()))
    return [d for d in range(found.ndim) if found.shape[d] > 1 and bool((found != found.narrow(d, 0, 1)).any())]


def classes(atoms: Atoms, labels: Tensor) -> int:
    """Return the number of classes."""
    return len(np.unique(atoms.roots(squashed(labels)[0].numpy())))


def lead(labels: Tensor, dim: int) -> Tensor:
    """Return the labels along one dimension, at the first index of all others."""
    for other in range(labels.ndim):
        if other != dim % labels.ndim:
            labels = labels.narrow(other, 0, 1)
    return labels.reshape(-1)


def merged(atoms: Atoms, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
    """Join what differs along some dimensions, and return the labels with those dimensions of size 1."""
    for dim in dims:
        first = labels.narrow(dim, 0, 1)
        if labels.shape[dim] > 1 and labels.stride(dim) != 0:
            join(atoms, labels, first, why)
        labels = first
    return labels
