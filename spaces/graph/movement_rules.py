"""What operators that only move elements do to labels: the same, and their numbers follow from what is left."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, fx

from .atoms import FIXED
from .labels import along, fixed, merged, squashed, varies
from .members import Counted, Resize
from .walk import Rule, Walk


def moved(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Do to the labels what is done to the elements."""
    arguments = [labels_or_value(walk, a) for a in node.args]
    return node.target(*arguments, **walk.value(node.kwargs))  # type: ignore[operator]


def labels_or_value(walk: Walk, argument: Any) -> Any:
    """Return the labels of tensors of numbers; indices and sizes are what they are."""
    if isinstance(argument, fx.Node):
        labels = walk.labels[argument]
        return walk.values[argument] if labels is None else labels
    if isinstance(argument, list | tuple):
        return type(argument)(labels_or_value(walk, part) for part in argument)
    return argument


def shaped(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Give labels another shape; channels that come to lie in several dimensions stay a full grid."""
    labels: Tensor = walk.of(node.args[0]).reshape(value.shape)
    walk.straight.append((node.name, labels))
    sizes = node.args[1] if len(node.args) > 1 else None
    if isinstance(sizes, list | tuple):
        walk.resizes.append(Resize(node.name, 1, _counted(labels, sizes)))
    return labels


def unflattened(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Split one dimension in several."""
    labels: Tensor = walk.of(node.args[0]).reshape(value.shape)
    walk.straight.append((node.name, labels))
    dim, sizes = int(node.args[1]) % (value.ndim - len(node.args[2]) + 1), node.args[2]  # type: ignore[arg-type]
    walk.resizes.append(Resize(node.name, 2, _counted(labels, sizes, dim)))
    return labels


def expanded(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Repeat labels along dimensions of size 1; of what is no channel there may be as many copies as it meets."""
    source: Tensor = walk.of(node.args[0])
    labels = source.expand(value.shape)
    lengths = [1] * (value.ndim - source.ndim) + list(source.shape)
    longer = [dim for dim, length in enumerate(lengths) if length < value.shape[dim]]
    if len(longer) == 1 and isinstance(node.args[1], list | tuple) and bool((squashed(source)[0] == FIXED).all()):
        labels = along(walk.fresh(value.shape[longer[0]]), longer[0], value.shape)
    if isinstance(node.args[1], list | tuple):
        walk.resizes.append(Resize(node.name, 1, _counted(labels, node.args[1])))
    return labels


def _counted(labels: Tensor, sizes: Any, first: int = 0) -> tuple[Counted | None, ...]:
    return tuple(
        Counted(labels, first + i, 0, size)
        if isinstance(size, int) and size > 0 and labels.shape[first + i] == size
        else None
        for i, size in enumerate(sizes)
    )


def split(walk: Walk, node: fx.Node, value: Sequence[Tensor]) -> list[Tensor]:
    """Cut labels in parts; how long each part is follows from what is left of it."""
    labels: Tensor = walk.of(node.args[0])
    dim = node.args[2] if len(node.args) > 2 else node.kwargs.get("dim", 0)
    at = int(dim) % labels.ndim  # type: ignore[arg-type]
    sizes = [part.shape[at] for part in value]
    ends = list(itertools.accumulate(sizes))
    ranges = zip([0, *ends[:-1]], ends, strict=True)
    walk.resizes.append(Resize(node.name, 1, tuple(Counted(labels, at, start, stop) for start, stop in ranges)))
    return list(torch.split(labels, sizes, at))


def sliced(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Take a range; its ends follow from what is left before them."""
    labels: Tensor = walk.of(node.args[0])
    args = [*walk.value(node.args), *(None,) * 5]
    dim = (args[1] or 0) % labels.ndim
    size = labels.shape[dim]
    start, end, step = args[2] or 0, size if args[3] is None else args[3], args[4] or 1
    start, end = (min(max(i + size if i < 0 else i, 0), size) for i in (start, end))
    taken = labels.narrow(dim, start, end - start)
    if step > 1:
        if changes(walk, labels, dim):
            if start >= step or end < size or size % step:
                walk.pin(labels, "every few of it are taken")
            else:
                together = labels.unflatten(dim, (size // step, step))  # type: ignore[no-untyped-call]
                merged(walk.atoms, together, [dim + 1], "every few of it are taken")
        return taken.index_select(dim, torch.arange(0, end - start, step))
    for argument, stop in ((2, start), (3, end)):
        if len(node.args) > argument and isinstance(node.args[argument], int) and 0 < stop < size:
            walk.resizes.append(Resize(node.name, argument, (Counted(labels, dim, 0, stop),), scalar=True))
    return taken


def changes(walk: Walk, labels: Tensor, dim: int) -> bool:
    """Return whether classes change along a dimension."""
    return varies(walk.atoms, labels, dim)


def selected(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Take one index of a dimension, which moves when what lies before it goes."""
    labels: Tensor = walk.of(node.args[0])
    _, dim, index = walk.value(node.args)
    dim %= labels.ndim
    index = index % labels.shape[dim]
    if index and isinstance(node.args[2], int):
        walk.resizes.append(Resize(node.name, 2, (Counted(labels, dim, 0, index),), scalar=True))
    walk.numbered.append((labels, dim))
    return labels.select(dim, index)


def padded(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Pad labels with new atoms: what is padded goes with whatever it meets."""
    labels: Tensor = walk.of(node.args[0])
    amounts = list(node.args[1])  # type: ignore[arg-type]
    mode = node.args[2] if len(node.args) > 2 and isinstance(node.args[2], str) else node.kwargs.get("mode", "constant")
    found = labels
    counted: list[Counted | None] = []
    for i in range(0, len(amounts), 2):
        dim = labels.ndim - 1 - i // 2
        before, after = amounts[i], amounts[i + 1]
        if not changes(walk, found, dim) or mode != "constant" or min(before, after) < 0:
            if changes(walk, found, dim):
                walk.pin(found, "it is padded from itself")
            start, end = max(0, -before), found.shape[dim] - max(0, -after)  # less than none cuts off
            found = found.narrow(dim, start, end - start)
            positions = fixed_like(found, dim, before), fixed_like(found, dim, after)
            found = torch.cat([positions[0], found, positions[1]], dim) if max(before, after) > 0 else found
            counted += [None, None]
            continue
        new = [_fresh_like(walk, found, dim, many) for many in (before, after)]
        found = torch.cat([new[0], found, new[1]], dim)
        counted += [Counted(found, dim, 0, before), Counted(found, dim, found.shape[dim] - after, found.shape[dim])]
    walk.resizes.append(Resize(node.name, 1, tuple(counted)))
    return found if found.shape == value.shape else fixed(value.shape)


def fixed_like(labels: Tensor, dim: int, count: int) -> Tensor:
    """Return the labels at an edge again, for padding of positions."""
    edge = labels.narrow(dim, 0, 1)
    shape = list(edge.shape)
    shape[dim] = max(0, count)
    return edge.expand(shape)


def _fresh_like(walk: Walk, labels: Tensor, dim: int, count: int) -> Tensor:
    shape = list(labels.shape)
    shape[dim] = count
    view = [1] * labels.ndim
    view[dim] = count
    return walk.fresh(count).view(view).expand(shape)


def made(walk: Walk, node: fx.Node, value: Tensor) -> Tensor:
    """Give what is made of one number atoms of its own: it goes with whatever it meets."""
    plain = all(user.op == "call_function" and "cat" in str(user.target) for user in node.users)
    if not value.is_floating_point() or not plain:
        return fixed(value.shape)
    labels = walk.fresh(value.numel()).view(value.shape)
    position = next((i for i, a in enumerate(node.args) if isinstance(a, list | tuple)), None)
    if position is not None:
        walk.straight.append((node.name, labels))
        walk.resizes.append(Resize(node.name, position, _counted(labels, node.args[position])))
    return labels


MOVED = [
    "permute",
    "transpose",
    "t",
    "unsqueeze",
    "squeeze",
    "unbind",
    "flip",
    "getitem",
    "unfold",
    "swapdims",
    "moveaxis",
    "mT",
    "adjoint",
    "movedim",
    "repeat",
    "repeat_interleave",
    "swapaxes",
    "numpy_T",
    "tile",
]

FUNCTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(MOVED, moved),
    **dict.fromkeys(("view", "reshape", "_unsafe_view"), shaped),
    **dict.fromkeys(("view_as", "reshape_as"), shaped),
    **dict.fromkeys(("expand", "broadcast_to", "expand_as"), expanded),
    **dict.fromkeys(("split", "split_with_sizes", "chunk", "tensor_split"), split),
    **dict.fromkeys(("pad", "constant_pad_nd"), padded),
    **dict.fromkeys(("zeros", "ones", "full", "new_zeros", "new_ones", "new_full"), made),
    "unflatten": unflattened,
    "slice": sliced,
    "select": selected,
    "flatten": shaped,
}
