"""Arithmetic element by element: values that meet lose the same indices."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from .labels import Factors, fixed, join, merged, parts_of, united, varied
from .walk import Walk

WHY = "it meets what cannot be removed"
SCALES = "it scales all channels at once"


def paired(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Join what meets, element by element."""
    if not isinstance(value, Tensor):
        return None
    parts = [walk.of(a) for a in (*node.args, *node.kwargs.values())]
    result: Tensor | Factors | None = None
    for part in parts:
        if not isinstance(part, Tensor | Factors) or not part.ndim:
            continue
        if part.shape.numel() == 1 and value.numel() > 1:
            walk.pin(part, SCALES)
        else:
            result = part if result is None else met(walk, result, part)
    if result is None or len(result.shape) > value.ndim:
        return fixed(value.shape)
    return united(walk.atoms, parts_of(result), value.shape)


def met(walk: Walk, first: Tensor | Factors, second: Tensor | Factors) -> Tensor | Factors:
    """Return the labels of two values that meet after broadcasting, joined where both can lose something.

    Args:
        walk: The walk.
        first: Labels of one.
        second: Labels of the other.
    """
    shape = torch.broadcast_shapes(first.shape, second.shape)  # type: ignore[no-untyped-call]
    ours, theirs = ([_ranked(part, len(shape)) for part in parts_of(labels)] for labels in (first, second))
    joined: set[int] = set()
    for part in ours:
        for i, other in enumerate(theirs):
            if {*varied(walk.atoms, part)} & {*varied(walk.atoms, other)}:
                join(walk.atoms, part, other, WHY)
                joined.add(i)
    for parts, others in ((ours, theirs), (theirs, ours)):
        for part in parts:
            _alone(walk, part, others)
    # the better spread first: what is joined is one, and one of them is enough
    kept = [part.expand(shape) for part in ours]
    kept += [other.expand(shape) for i, other in enumerate(theirs) if i not in joined or len(ours) > 1]
    if len(ours) == len(theirs) == 1 and joined:
        kept = sorted((ours[0].expand(shape), theirs[0].expand(shape)), key=lambda part: -part.stride().count(0))[:1]
    return united(walk.atoms, kept, shape)


def _alone(walk: Walk, part: Tensor, others: list[Tensor]) -> None:
    """Let stay what meets something whole, and what scales all channels of something."""
    dims = varied(walk.atoms, part)
    if not dims:
        spread = any(part.shape[d] == 1 for other in others for d in varied(walk.atoms, other))
        if spread:
            walk.pin(part, SCALES)
        for other in others:
            if not spread and not varied(walk.atoms, other):
                join(walk.atoms, part, other, WHY)
        return
    blocked = [
        dim
        for dim in dims
        if others[0].shape[dim] > 1 and not any(dim in varied(walk.atoms, other) for other in others)
    ]
    if blocked and len(blocked) < len(dims):
        merged(walk.atoms, part, blocked, WHY)  # whole heads can still go where their features cannot
    elif blocked:
        walk.pin(part, WHY)


def _ranked(part: Tensor, rank: int) -> Tensor:
    return part.reshape([1] * (rank - part.ndim) + list(part.shape)) if part.ndim < rank else part
