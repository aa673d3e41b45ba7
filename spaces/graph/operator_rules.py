"""What operators that compute do to labels: arithmetic, reductions, products of matrices, attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, fx

from .arithmetic import met, paired
from .labels import fixed, join, merged, varies
from .layer_rules import pooled
from .members import Counted, Resize
from .operator_names import ALONE, PAIRS, POOLED, REDUCED
from .walk import Rule, Walk


def name_of(node: fx.Node) -> str:
    """Return an operator's name without overload, as "view" for aten.view.default."""
    target: Any = node.target
    name = getattr(target, "_opname", None) or getattr(target, "__name__", str(target))
    return str(name)


def nothing(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Give what holds no tensor of channels, as sizes do, no labels."""
    return fixed(value.shape) if isinstance(value, Tensor) else None


def reduced(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Take away dimensions; channels that are reduced leave no trace."""
    if len(node.args) > 1 and isinstance(node.args[1], fx.Node) and name_of(node) in ("max", "min"):
        return paired(walk, node, value)  # the larger of two values, element by element
    labels = walk.of(node.args[0])
    at = 2 if name_of(node) in ("norm", "linalg_vector_norm") else 1  # behind the order of the norm
    dims = node.args[at] if len(node.args) > at else node.kwargs.get("dim")
    if dims is None or not isinstance(dims, int | list | tuple):
        return _each(value, lambda part: fixed(part.shape))
    wanted = [d % labels.ndim for d in ([dims] if isinstance(dims, int) else dims)] or list(range(labels.ndim))
    gone = [d for d in wanted if varies(walk.atoms, labels, d)]
    first = labels
    if gone and any(varies(walk.atoms, labels, d) for d in range(labels.ndim) if d not in wanted):
        first, gone = merged(walk.atoms, labels, wanted, "it is reduced together with other channels"), []
    for d in wanted:
        first = first.narrow(d, 0, 1)
    if gone:
        first = fixed(first.shape)
    return _each(value, lambda part: first.reshape(part.shape) if part.numel() == first.numel() else fixed(part.shape))


def _each(value: Any, make: Any) -> Any:
    return [make(part) for part in value] if isinstance(value, tuple | list) else make(value)


def gated(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Join the two halves that a gated linear unit multiplies."""
    dim = int(node.args[1]) if len(node.args) > 1 else -1  # type: ignore[arg-type]
    first, second = walk.of(node.args[0]).chunk(2, dim)
    join(walk.atoms, first, second, "it meets what cannot be removed")
    return first  # type: ignore[no-any-return]


def softmax(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Pass labels on; what is normalized against other channels goes with them, where there is anything else to go."""
    labels: Tensor = walk.of(node.args[0])
    dim = int(node.args[1]) % labels.ndim  # type: ignore[arg-type]
    if any(varies(walk.atoms, labels, d) for d in range(labels.ndim) if d != dim):
        return merged(walk.atoms, labels, [dim], "it is normalized against others (softmax)").expand(labels.shape)
    return labels


def pooling(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Pool or resize positions."""
    return pooled(walk, node, value)


def written(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Join what is written into a part of a value with that part."""
    labels, source = walk.largest(walk.of(node.args[0])), walk.of(node.args[1])
    place = [*walk.value(node.args[2:]), *(None,) * 4]
    dim = (place[0] or 0) % labels.ndim
    if name_of(node) == "select_scatter":
        walk.numbered.append((labels, dim))
        met(walk, labels.select(dim, place[1]), source)
        return labels
    size = labels.shape[dim]
    ends = place[1] or 0, size if place[2] is None else place[2]
    start, end = (min(max(i + size if i < 0 else i, 0), size) for i in ends)
    met(walk, labels.narrow(dim, start, end - start)[_every(labels.ndim, dim, place[3] or 1)], source)
    for argument, stop in ((3, start), (4, end)):
        if len(node.args) > argument and isinstance(node.args[argument], int) and 0 < stop < size:
            walk.resizes.append(Resize(node.name, argument, (Counted(labels, dim, 0, stop),), scalar=True))
    return labels


def _every(rank: int, dim: int, step: int) -> tuple[slice, ...]:
    return tuple(slice(None, None, step if d == dim else 1) for d in range(rank))


FUNCTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(ALONE, paired),
    **dict.fromkeys(PAIRS, paired),
    **dict.fromkeys(REDUCED, reduced),
    **dict.fromkeys(POOLED, pooling),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    **dict.fromkeys(("sym_size", "sym_numel", "size", "floordiv", "truediv"), nothing),
    "glu": gated,
    **dict.fromkeys(("slice_scatter", "select_scatter"), written),
}
"""Sizes are computed by functions of Python's `operator`, whose names are those of tensors' own."""
