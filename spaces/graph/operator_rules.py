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
    labels = walk.of(node.args[0])
    dims = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
    if dims is None or not isinstance(dims, int | list | tuple):
        return _each(value, lambda part: fixed(part.shape))
    wanted = [d % labels.ndim for d in ([dims] if isinstance(dims, int) else dims)] or list(range(labels.ndim))
    gone = any(varies(walk.atoms, labels, d) for d in wanted)
    if gone and any(varies(walk.atoms, labels, d) for d in range(labels.ndim) if d not in wanted):
        walk.pin(labels, "it is reduced together with other channels")
        return _each(value, lambda part: fixed(part.shape))
    first = labels
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
    """Pass labels on; what is normalized against itself stays whole."""
    labels: Tensor = walk.of(node.args[0])
    dim = int(node.args[1]) % labels.ndim  # type: ignore[arg-type]
    if varies(walk.atoms, labels, dim):
        walk.pin(labels, "it is normalized against the others (softmax)")
    return labels


def attention(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Let whole heads of queries, keys and values go together: [..., head, token, feature]."""
    query, key, values = (walk.of(a) for a in node.args[:3])
    why = "its head cannot be removed"
    parts = [merged(walk.atoms, part, [part.ndim - 2, part.ndim - 1], why) for part in (query, key, values)]
    if parts[0].shape[:-2] == parts[1].shape[:-2] == parts[2].shape[:-2] and query.ndim > 3:
        for part in parts[1:]:
            join(walk.atoms, parts[0], part, why)
        return parts[0].expand(value.shape)
    walk.pin(list(parts), "its heads share keys")
    return fixed(value.shape)


def pooling(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Pool or resize positions."""
    return pooled(walk, node, value)


def masked_attention(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Apply the rule of attention; a mask that differs from head to head goes with the heads."""
    found = attention(walk, node, value)
    mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")
    if not isinstance(mask, fx.Node) or walk.labels[mask] is None:
        return found
    labels = walk.largest(walk.labels[mask])
    heads = merged(walk.atoms, labels, [labels.ndim - 2, labels.ndim - 1], "it masks positions")
    kept = met(walk, found.narrow(-1, 0, 1).narrow(-2, 0, 1), heads)
    return walk.largest(kept).expand(value.shape)


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
    start, end = (min(max(i + size if i < 0 else i, 0), size) for i in (place[1] or 0, size if place[2] is None else place[2]))
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
    "scaled_dot_product_attention": masked_attention,
    "glu": gated,
    **dict.fromkeys(("slice_scatter", "select_scatter"), written),
}
"""Sizes are computed by functions of Python's `operator`, whose names are those of tensors' own."""
