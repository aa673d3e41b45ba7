"""Label tensors: for each element of a value, the atom that it goes with. Shape as the value's, batch of one."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .atoms import FIXED, Atoms


def fixed(shape: Sequence[int]) -> Tensor:
    """Return labels of a value that always stays whole."""
    return torch.full((), FIXED, dtype=torch.int64).expand(tuple(shape))


def along(atoms: Tensor, dim: int, shape: Sequence[int]) -> Tensor:
    """Return labels [shape] that change along one dimension only; `atoms` has as many as it is long."""
    view = [1] * len(shape)
    view[dim] = -1
    return atoms.view(view).expand(tuple(shape))


def squashed(*labels: Tensor) -> list[Tensor]:
    """Return labels broadcast to one shape, without the dimensions along which none of them changes by its strides."""
    kept: list[Tensor] = list(torch.broadcast_tensors(*labels))  # type: ignore[no-untyped-call]
    for dim in range(kept[0].ndim):
        if kept[0].shape[dim] > 1 and all(part.stride(dim) == 0 for part in kept):
            kept = [part.narrow(dim, 0, 1) for part in kept]
    return kept


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


def merged(atoms: Atoms, labels: Tensor, dims: Sequence[int], why: str) -> Tensor:
    """Join what differs along some dimensions, and return the labels with those dimensions of size 1."""
    for dim in dims:
        first = labels.narrow(dim, 0, 1)
        if labels.shape[dim] > 1 and labels.stride(dim) != 0:
            join(atoms, labels, first, why)
        labels = first
    return labels
