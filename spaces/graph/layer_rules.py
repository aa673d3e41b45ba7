"""What layers do to labels: modules that hold weights, and those that work on every element alone."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd, _ConvTransposeNd
from torch.nn.modules.pooling import _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd

from .labels import Factors, along, fixed, merged, parts_of, united, varied, varies
from .members import Even, Slice
from .walk import Rule, Walk

MIXED = "it lies in more than one dimension of what a layer reads"


def contracted(walk: Walk, labels: Tensor, dim: int) -> Tensor | None:
    """Return the atoms [size] along the dimension that a layer reads.

    What differs along other dimensions is joined. None stands for channels that lie in other dimensions alone: the
    layer does not mix them.

    Args:
        walk: The walk.
        labels: Of the layer's inputs.
        dim: The dimension.
    """
    dim %= labels.ndim
    others = [d for d in range(labels.ndim) if d != dim]
    if any(varies(walk.atoms, labels, d) for d in others) and not varies(walk.atoms, labels, dim):
        return None
    return merged(walk.atoms, labels, others, MIXED).reshape(-1)


def linear(
    walk: Walk,
    labels: Tensor | Factors,
    dim: int,
    names: tuple[str, str | None],
    sizes: tuple[int, int],
    shape: tuple[int, ...],
    alone: bool = True,
) -> Tensor | Factors:
    """Apply the rule of a layer that reads one dimension and writes new channels in its place.

    Args:
        walk: The walk.
        labels: Of the inputs.
        dim: The dimension that is read, and written.
        names: Of the weight [out, in, ...], and of the bias, if there is one.
        sizes: Channels that are written and read.
        shape: Of the outputs.
        alone: Whether it works on each index of all other dimensions alone; what changes along them goes through it.

    Returns:
        The labels of the outputs.
    """
    parts = parts_of(labels)
    changes = [varied(walk.atoms, part) for part in parts]
    reads = [part for part, dims in zip(parts, changes, strict=True) if dim in dims]
    others = [part for part, dims in zip(parts, changes, strict=True) if dims and dim not in dims]
    if not alone:
        if len(parts) > 1:
            walk.pin(others, MIXED)
        others = []
    if reads or not others:
        read = merged(walk.atoms, (reads or parts)[0], [d for d in range(len(shape)) if d != dim], MIXED).reshape(-1)
    else:
        read = fixed((sizes[1],))
    made = walk.fresh(sizes[0])
    weight, bias = names
    walk.slices += [Slice(weight, 0, made, "out"), Slice(weight, 1, read, "in")]
    if bias:
        walk.slices.append(Slice(bias, 0, made, "out"))
    passed = [part.narrow(dim, 0, 1).expand(shape) for part in others]
    return united(walk.atoms, [along(made, dim, shape), *passed], shape)


def _linear(walk: Walk, node: fx.Node, value: Tensor) -> Tensor | Factors:
    module: Any = walk.module(node)
    names = f"{node.target}.weight", f"{node.target}.bias" if module.bias is not None else None
    sizes = module.out_features, module.in_features
    return linear(walk, walk.of(node.args[0]), value.ndim - 1, names, sizes, tuple(value.shape))


def _conv(walk: Walk, node: fx.Node, value: Tensor) -> Tensor | Factors:
    module: Any = walk.module(node)
    weight, labels, shape = f"{node.target}.weight", walk.of(node.args[0]), tuple(value.shape)
    dim = value.ndim - len(module.kernel_size) - 1
    bias = f"{node.target}.bias" if module.bias is not None else None
    if module.groups == 1:
        alone = labels.shape[dim + 1 :] == value.shape[dim + 1 :] and set(module.kernel_size) == {1}
        sizes = module.out_channels, module.in_channels
        return linear(walk, labels, dim, (weight, bias), sizes, shape, alone)
    labels = walk.largest(labels)
    read = contracted(walk, labels, dim)
    if read is None:
        walk.pin(labels, MIXED)
        return fixed(shape)
    if module.groups == module.in_channels:  # a depthwise layer writes what it reads
        made = read.repeat_interleave(module.out_channels // module.in_channels)
        walk.slices.append(Slice(weight, 0, made, "both"))
    else:
        made = walk.fresh(module.out_channels)
        walk.slices += [Slice(weight, 0, made, "out"), Slice(weight, 1, read, "in", module.groups)]
        walk.evens += [Even(made, module.groups), Even(read, module.groups)]
    if bias:
        walk.slices.append(Slice(bias, 0, made, "both" if module.groups == module.in_channels else "out"))
    return along(made, dim, shape)


def _transposed(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    module: Any = walk.module(node)
    labels, shape = walk.largest(walk.of(node.args[0])), tuple(value.shape)
    dim = value.ndim - len(module.kernel_size) - 1
    read = contracted(walk, labels, dim)
    if read is None:
        walk.pin(labels, MIXED)
        return fixed(shape)
    weight, side, each = f"{node.target}.weight", "out", module.out_channels // module.groups
    if module.groups > 1 and module.groups == module.in_channels:  # each channel writes outputs of its own
        made, side = read.repeat_interleave(each), "both"
        walk.slices.append(Slice(weight, 0, read, "both"))
    else:
        one = walk.fresh(each)
        made = one.repeat(module.groups)
        walk.slices += [Slice(weight, 1, one, "out"), Slice(weight, 0, read, "in")]
        if module.groups > 1:
            walk.evens.append(Even(read, module.groups))
    if module.bias is not None:
        walk.slices.append(Slice(f"{node.target}.bias", 0, made, side))
    return along(made, dim, shape)


def _per_channel(walk: Walk, node: fx.Node, value: Tensor, dim: int, blocks: int = 1) -> Tensor:
    """Apply the rule of what holds a number for each channel."""
    labels, module = walk.of(node.args[0]), walk.module(node)
    read = contracted(walk, labels, dim)
    if read is None:
        return labels  # type: ignore[no-any-return]
    held = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
    for name, numbers in held:
        if numbers.ndim == 1 and len(numbers) == len(read):
            walk.slices.append(Slice(f"{node.target}.{name}", 0, read, "both"))
    if blocks > 1:
        walk.evens.append(Even(read, blocks))
    return labels  # type: ignore[no-any-return]


def _norm(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    return _per_channel(walk, node, value, min(1, value.ndim - 1))


def _group_norm(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    module: Any = walk.module(node)
    return _per_channel(walk, node, value, 1, module.num_groups)


def _layer_norm(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    return _per_channel(walk, node, value, value.ndim - 1)


def _prelu(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    module: Any = walk.module(node)
    return _per_channel(walk, node, value, 1) if module.num_parameters > 1 else elementwise(walk, node, value)


def _embedding(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    made = walk.fresh(value.shape[-1])
    walk.slices.append(Slice(f"{node.target}.weight", 1, made, "out"))
    return along(made, value.ndim - 1, tuple(value.shape))


def elementwise(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Pass labels on, where the shape stays."""
    labels = walk.of(node.args[0])
    if not isinstance(labels, Tensor) or labels.shape != value.shape:
        walk.pin(labels, f"{node.target} may mix channels")
        return fixed(value.shape)
    return labels


def pooled(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Pass labels on, where positions become fewer or more; positions themselves carry no channels."""
    labels = walk.of(node.args[0])
    if isinstance(value, tuple | list):  # with the indices of what was taken
        return [_pooled(walk, labels, part) for part in value]
    return _pooled(walk, labels, value)


def _pooled(walk: Walk, labels: Tensor, value: Tensor) -> Tensor:
    changed = [d for d in range(value.ndim) if labels.shape[d] != value.shape[d]]
    moved = [d for d in range(2 if value.ndim > 2 else value.ndim - 1, value.ndim) if d not in changed]
    labels = merged(walk.atoms, labels, [*changed, *moved], "it is pooled together")
    return labels.expand(value.shape)


MODULES: tuple[tuple[type[nn.Module], Rule], ...] = (
    (nn.Linear, _linear),
    (_ConvTransposeNd, _transposed),
    (_ConvNd, _conv),
    (_NormBase, _norm),  # batch norms and instance norms
    (nn.GroupNorm, _group_norm),
    (nn.LayerNorm, _layer_norm),
    (nn.RMSNorm, _layer_norm),
    (nn.PReLU, _prelu),
    (nn.Embedding, _embedding),
    *((cls, pooled) for cls in (_AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd)),
)

OF_SEVERAL: tuple[Rule, ...] = (_linear, _conv, _transposed)
"""Rules that know values that can lose indices of several dimensions."""
