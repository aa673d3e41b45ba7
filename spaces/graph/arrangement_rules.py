"""What operators do to labels that put elements in another order: side by side, by tables, in turns, in windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from .labels import along, join, merged, varied
from .members import Counted, Resize
from .movement_rules import changes, labels_or_value
from .operator_rules import name_of
from .walk import Rule, Walk


def side_by_side(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Put labels beside each other; along other dimensions, all parts lose the same."""
    parts: list[Tensor] = walk.of(node.args[0])
    given: Any = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim", 0)
    dim = given % value.ndim
    if name_of(node) == "stack":
        parts = [part.unsqueeze(dim) for part in parts]
    else:
        parts = [part for part in parts if part.ndim == value.ndim]  # an empty tensor of one dimension is allowed
    first = next((part for part in parts if _beside(walk, part, dim)), None)
    if first is not None and not changes(walk, first, dim):
        for part in parts:
            if part is not first and not changes(walk, part, dim) and part.shape[dim]:
                ends = first.narrow(dim, 0, 1), part.narrow(dim, 0, 1)
                join(walk.atoms, *ends, "it lies beside what cannot be removed")
    return torch.cat(parts, dim)


def _beside(walk: Walk, labels: Tensor, dim: int) -> bool:
    return any(d != dim for d in varied(walk.atoms, labels))


def indexed(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Take elements by a table of numbers, which cannot be rewritten where channels are taken so."""
    labels: Tensor = walk.of(node.args[0])
    indices = walk.value(node.args[1])
    for dim, index in enumerate(indices):
        if index is not None and dim < labels.ndim and changes(walk, labels, dim):
            source = node.args[0]
            if isinstance(source, fx.Node) and source.op == "get_attr":  # positions of a table
                labels = merged(walk.atoms, labels, [dim], "it is taken by a table of numbers").expand(labels.shape)
            else:
                walk.pin(labels, "it is taken by a table of numbers")
    return labels[tuple(slice(None) if i is None else i for i in indices)]


def picked(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Take elements of one dimension by a table of numbers."""
    labels: Tensor = walk.of(node.args[0])
    dim = int(node.args[1]) % labels.ndim  # type: ignore[arg-type]
    if changes(walk, labels, dim):
        walk.pin(labels, "it is taken by a table of numbers")
    return labels.index_select(dim, walk.value(node.args[2]))


def shuffled(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Spread channels over positions, or gather them: those that come to lie in one output channel go together."""
    labels: Tensor = node.target(*[labels_or_value(walk, a) for a in node.args])  # type: ignore[operator]
    dims = range(labels.ndim - 2, labels.ndim)
    return merged(walk.atoms, labels, list(dims), "it is spread over positions").expand(value.shape)


def mixed_groups(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Let channels of several groups take turns."""
    labels, groups = walk.of(node.args[0]), int(node.args[1])  # type: ignore[arg-type]
    grid = labels.reshape(labels.shape[0], groups, -1, *labels.shape[2:])
    walk.straight.append((node.name, grid))
    walk.resizes.append(Resize(node.name, 1, (Counted(grid, 1, 0, groups),), scalar=True))
    mixed: Tensor = grid.transpose(1, 2).reshape(labels.shape)
    return mixed


def rolled(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Roll positions; channels that roll go together."""
    labels: Tensor = walk.of(node.args[0])
    shifts, dims = (walk.value(a) for a in (*node.args, [])[1:3])
    if not dims:
        walk.pin(labels, "it is rolled through all dimensions")
        return labels
    rolls = [d % labels.ndim for d in ([dims] if isinstance(dims, int) else dims)]
    merged(walk.atoms, labels, [d for d in rolls if changes(walk, labels, d)], "it is rolled")
    return torch.roll(labels, shifts, dims)


def in_windows(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Take windows of positions: [N, C, H, W] becomes [N, C times the size of a window, number of windows]."""
    labels = _channels_alone(walk, walk.of(node.args[0]))
    return _over(labels.repeat_interleave(value.shape[-2] // len(labels)), value)


def from_windows(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Add up windows of positions: what `in_windows` took apart."""
    labels = _channels_alone(walk, walk.of(node.args[0])[..., None])
    rows = labels.reshape(value.shape[-3], -1)
    return _over(merged(walk.atoms, rows, [1], "it is added up over positions").reshape(-1), value, -3)


def _channels_alone(walk: Walk, labels: Tensor) -> Tensor:
    dims = [d for d in range(labels.ndim) if d != labels.ndim - 3]
    return merged(walk.atoms, labels, dims, "it lies in positions").reshape(-1)


def _over(atoms: Tensor, value: Tensor, dim: int = -2) -> Tensor:
    return along(atoms, dim % value.ndim, value.shape)


FUNCTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(("cat", "stack", "concat", "concatenate"), side_by_side),
    **dict.fromkeys(("pixel_shuffle", "pixel_unshuffle"), shuffled),
    "channel_shuffle": mixed_groups,
    "roll": rolled,
    "im2col": in_windows,
    "col2im": from_windows,
    "index": indexed,
    "index_select": picked,
}
