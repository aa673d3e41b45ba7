"""Operators of which nothing is known: they are run on fewer channels, to see whether these go through one by one."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from .function_rules import everything_fixed
from .labels import join, merged, varied
from .operator_rules import name_of
from .walk import Walk


def tried(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Pass labels on where an operator gives for fewer channels just what it gave for them among all.

    Everything else that meets it stays whole, and so does what it gives.
    """
    labels = {a: walk.labels[a] for a in node.all_input_nodes if isinstance(walk.labels[a], Tensor)}
    moving = [a for a, part in labels.items() if varied(walk.atoms, part)]
    dims = sorted({d for a in moving for d in varied(walk.atoms, labels[a])})
    alike = len({walk.values[a].shape for a in moving}) == 1 and isinstance(value, Tensor)
    if alike and all(_goes_through(walk, node, moving, dim) for dim in dims):
        first = labels[moving[0]]
        for other in moving[1:]:
            join(walk.atoms, first, labels[other], "it meets what cannot be removed")
        return merged(walk.atoms, first, [d for d in range(first.ndim) if d not in dims], "").expand(value.shape)
    for source in node.all_input_nodes:
        walk.pin(walk.labels[source], f"operator {name_of(node)} may mix channels")
    return everything_fixed(value)


def _goes_through(walk: Walk, node: fx.Node, moving: list[fx.Node], dim: int) -> bool:
    """Return whether cutting the inputs along a dimension cuts the outputs, and does nothing else."""
    draw = torch.Generator().manual_seed(0)
    inputs = {a: torch.randn(walk.values[a].shape, generator=draw) for a in moving}
    size = inputs[moving[0]].shape[dim]
    try:
        all_of_it = _run(walk, node, inputs)
        some = torch.randperm(size, generator=draw)[: size // 2]
        for kept in (torch.arange(0, size, 2), torch.arange(1, size), some):
            less = _run(walk, node, {a: part.index_select(dim, kept) for a, part in inputs.items()})
            if all_of_it.ndim != inputs[moving[0]].ndim or all_of_it.shape[dim] != size:
                return False
            if not torch.allclose(less, all_of_it.index_select(dim, kept), atol=1e-5, equal_nan=True):
                return False
    except Exception:  # whatever the operator says of other inputs
        return False
    return True


def _run(walk: Walk, node: fx.Node, inputs: dict[fx.Node, Tensor]) -> Tensor:
    given = {a: part.clone() for a, part in inputs.items()}

    def value(source: fx.Node) -> Any:
        return given[source] if source in given else walk.values[source]

    arguments = fx.map_arg((node.args, dict(node.kwargs)), value)
    found: Tensor = node.target(*arguments[0], **arguments[1])  # type: ignore[operator]
    return found
