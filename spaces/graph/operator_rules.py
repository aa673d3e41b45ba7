"""What operators that compute do to labels: arithmetic, reductions, products of matrices, attention."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from .labels import fixed, join, merged, varies
from .layer_rules import contracted, linear, pooled
from .members import Counted, Even, Resize, Slice
from .operator_names import ALONE, PAIRS, POOLED, REDUCED
from .walk import Rule, Walk


def nothing(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Give what holds no tensor of channels, as sizes do, no labels."""
    return fixed(value.shape) if isinstance(value, Tensor) else None


def paired(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Join what meets, element by element."""
    if not isinstance(value, Tensor):
        return None
    parts = [walk.of(a) for a in node.args]
    labels = [part for part in parts if isinstance(part, Tensor) and part.ndim]
    result: Tensor | None = None
    for part in labels:
        if part.numel() == 1 and value.numel() > 1:
            walk.pin(part, "it scales all channels at once")
            continue
        result = part if result is None else _met(walk, result, part)
    return fixed(value.shape) if result is None else result.expand(value.shape)


def _met(walk: Walk, first: Tensor, second: Tensor) -> Tensor:
    first, second = _same_rank(first, second)
    for part, other in ((first, second), (second, first)):
        wider = [d for d in range(part.ndim) if part.shape[d] == 1 < other.shape[d]]
        spread = any(varies(walk.atoms, other, d) for d in wider)
        if spread and not any(varies(walk.atoms, part, d) for d in range(part.ndim)):
            walk.pin(part, "it scales all channels at once")
            return other.expand(torch.broadcast_shapes(first.shape, second.shape))  # type: ignore[no-untyped-call]
    join(walk.atoms, first, second, "it meets what cannot be removed")
    a: Tensor
    b: Tensor
    a, b = torch.broadcast_tensors(first, second)  # type: ignore[no-untyped-call]
    # the better spread of the two: what was read from a parameter has a label for every element
    return a if sum(s == 0 for s in a.stride()) >= sum(s == 0 for s in b.stride()) else b


def _same_rank(first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
    rank = max(first.ndim, second.ndim)
    a, b = (
        part.reshape([1] * (rank - part.ndim) + list(part.shape)) if part.ndim < rank else part
        for part in (first, second)
    )
    return a, b


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


def product(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Join what a product of two matrices sums over; heads, in the leading dimensions, go as wholes."""
    first, second = walk.of(node.args[0]), walk.of(node.args[1])
    if first.ndim < 2 or second.ndim < 2:
        walk.pin([first, second], "it is read by a product of vectors")
        return fixed(value.shape)
    return _product(walk, first, second, tuple(value.shape))


def _product(walk: Walk, first: Tensor, second: Tensor, shape: tuple[int, ...]) -> Tensor:
    why = "it meets what cannot be removed"
    rows, columns = varies(walk.atoms, first, -2), varies(walk.atoms, second, -1)
    summed = varies(walk.atoms, first, -1) or varies(walk.atoms, second, -2)
    heads = any(varies(walk.atoms, part, d) for part in (first, second) for d in range(part.ndim - 2))
    if heads:  # whole heads: everything of one head is one atom
        a = merged(walk.atoms, first, [first.ndim - 2, first.ndim - 1], why)
        b = merged(walk.atoms, second, [second.ndim - 2, second.ndim - 1], why)
        return _met(walk, a, b).expand(shape)
    if summed:
        a = merged(walk.atoms, first, [first.ndim - 2], why).transpose(-1, -2)
        join(walk.atoms, *_same_rank(a, merged(walk.atoms, second, [second.ndim - 1], why)), why)
        return fixed(shape)
    if rows and columns:
        walk.pin([first, second], "it lies in more than one dimension of a product")
        return fixed(shape)
    if rows:
        return first.narrow(-1, 0, 1).expand(shape)
    return second.narrow(-2, 0, 1).expand(shape) if columns else fixed(shape)


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


def function_linear(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Apply the rule of a linear layer whose weight is a parameter of another module."""
    weight = _weight(walk, node.args[1])
    bias = _weight(walk, node.args[2]) if len(node.args) > 2 else None
    if weight is None or (len(node.args) > 2 and node.args[2] is not None and bias is None):
        return whole(walk, node, value)
    for name in (weight, bias):
        walk.bare.pop(name or "", None)
    return linear(walk, walk.of(node.args[0]), value.ndim - 1, weight, bias, value.shape[-1], tuple(value.shape))


def norm_of_dims(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Apply the rule of a layer norm whose weights are parameters of another module."""
    labels: Tensor = walk.of(node.args[0])
    sizes: Any = node.args[1]
    names = [_weight(walk, a) for a in node.args[2:4]]
    if len(sizes) > 1 or any(name is None and a is not None for name, a in zip(names, node.args[2:4], strict=True)):
        return whole(walk, node, value)
    read = contracted(walk, labels, labels.ndim - 1)
    if read is None:
        return labels
    for name in filter(None, names):
        walk.bare.pop(name, None)
        walk.slices.append(Slice(name, 0, read, "both"))
    walk.resizes.append(Resize(node.name, 1, (Counted(read, 0, 0, len(read)),)))
    return labels


def norm_of_channels(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Apply the rule of a batch norm, an instance norm or a group norm whose numbers are another module's."""
    labels: Tensor = walk.of(node.args[0])
    groups = node.args[1] if isinstance(node.args[1], int) else 1
    names = [(_weight(walk, a), a) for a in node.args[1:] if isinstance(a, fx.Node)]
    if any(name is None for name, _ in names):
        return whole(walk, node, value)
    read = contracted(walk, labels, 1)
    if read is None:
        return labels
    for name, _ in names:
        walk.bare.pop(str(name), None)
        walk.slices.append(Slice(str(name), 0, read, "both"))
    if groups > 1:
        walk.evens.append(Even(read, groups))
    return labels


def function_conv(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Apply the rule of a plain convolution whose weight is a parameter of another module."""
    weight = _weight(walk, node.args[1])
    bias = _weight(walk, node.args[2]) if len(node.args) > 2 else None
    groups = node.args[6] if len(node.args) > 6 else 1
    known = len(node.args) < 3 or node.args[2] is None or bias is not None
    if weight is None or not known or groups != 1:
        return whole(walk, node, value)
    for name in (weight, bias):
        walk.bare.pop(name or "", None)
    return linear(walk, walk.of(node.args[0]), 1, weight, bias, value.shape[1], tuple(value.shape))


def whole(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Keep what goes in and what comes out whole: the weights are computed in the forward pass."""
    for source in node.all_input_nodes:
        walk.pin(walk.labels[source], "its weights are computed in the forward pass")
    return fixed(value.shape)


def _weight(walk: Walk, argument: Any) -> str | None:
    return str(argument.target) if isinstance(argument, fx.Node) and argument.op == "get_attr" else None


def pooling(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Pool or resize positions."""
    return pooled(walk, node, value)


FUNCTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(ALONE, paired),
    **dict.fromkeys(PAIRS, paired),
    **dict.fromkeys(REDUCED, reduced),
    **dict.fromkeys(POOLED, pooling),
    **dict.fromkeys(("softmax", "_softmax", "log_softmax", "_log_softmax"), softmax),
    **dict.fromkeys(("matmul", "bmm", "mm"), product),
    **dict.fromkeys(("sym_size", "sym_numel", "size", "mul", "floordiv", "truediv", "add", "sub"), nothing),
    "scaled_dot_product_attention": attention,
    "glu": gated,
    "linear": function_linear,
    "layer_norm": norm_of_dims,
    "rms_norm": norm_of_dims,
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm"), norm_of_channels),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d"), function_conv),
    **dict.fromkeys(PAIRS[:4], paired),
}
"""Sizes are computed by functions of Python's `operator`, whose names are those of tensors' own."""
