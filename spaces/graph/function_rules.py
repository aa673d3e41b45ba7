"""Layers as functions: their weights are parameters of other modules, or computed in the forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from torch import Tensor, fx, nn

from .arithmetic import met
from .labels import Factors, along, fixed, join, lead, merged, parts_of, united, varied
from .layer_rules import MIXED, contracted
from .members import Counted, Even, Resize
from .products import WHY, contract, einstein
from .walk import Rule, Walk

COMPUTED = "its weights are computed in the forward pass"
LETTERS = "abcdefghijklmnopqrstuvw"


def product(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Join what a product of two matrices sums over; heads, in the leading dimensions, go as wholes."""
    first, second = walk.of(node.args[0]), walk.of(node.args[1])
    return _multiplied(walk, first, second, value)


def _multiplied(walk: Walk, first: Any, second: Any, value: Tensor) -> Any:
    rows = "x" if first.ndim > 1 else ""
    columns = "z" if second.ndim > 1 else ""
    rank = max(first.ndim, second.ndim) - 2
    ours, theirs = (LETTERS[: max(rank, 0)][max(rank, 0) - max(part.ndim - 2, 0) :] for part in (first, second))
    out = LETTERS[: max(rank, 0)] + rows + columns
    sizes = dict(zip(out, value.shape, strict=True))
    return contract(walk, [(first, ours + rows + "y"), (second, theirs + "y" + columns)], out, sizes)


def product_and_sum(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a product of two matrices that is added to something."""
    added, first, second = (walk.of(a) for a in node.args[:3])
    return met(walk, _multiplied(walk, first, second, value), added)


def einsum(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Join what an Einstein sum sums over, and what lies side by side in it."""
    operands = walk.of(node.args[1])
    spelled = einstein(str(node.args[0]), [part.shape for part in operands])
    if spelled is None:
        return whole(walk, node, value)
    letters, out = spelled
    return contract(walk, list(zip(operands, letters, strict=True)), out, dict(zip(out, value.shape, strict=True)))


def linear(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a linear layer whose weight is given as a value."""
    labels, weight, bias = (walk.of(a) for a in (*node.args, None)[:3])
    _tell_sides(walk, node.args[1], {0: "out", 1: "in"})
    before = LETTERS[: labels.ndim - 1]
    sizes = dict(zip(before + "z", value.shape, strict=True))
    made = contract(walk, [(labels, before + "y"), (weight, "zy")], before + "z", sizes)
    return made if bias is None else met(walk, made, bias)


def convolution(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a convolution whose weight is given as a value."""
    labels, weight, bias = (walk.of(a) for a in (*node.args, None)[:3])
    groups: Any = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
    read = _positions_alone(walk, labels)
    if read is None or not isinstance(groups, int):
        return whole(walk, node, value)
    if groups == 1:
        _tell_sides(walk, node.args[1], {0: "out", 1: "in"})
        made = _convolved(walk, read, weight, "zy", value)
    elif weight.shape[1] == 1 and groups == len(read):
        made = _depthwise(walk, node, read, weight, value)
    else:
        _tell_sides(walk, node.args[1], {0: "out", 1: "in"})
        walk.evens.append(Even(read, groups))
        rows = read.reshape(groups, -1)
        join(walk.atoms, rows, rows[:1], "its blocks must stay equally large")
        made = _convolved(walk, rows[0], weight, "zy", value)
        for part in parts_of(made):
            walk.evens.append(Even(lead(part, 1), groups))
    return made if bias is None else _with_bias(walk, made, bias)


def _depthwise(walk: Walk, node: fx.Node, read: Tensor, weight: Any, value: Tensor) -> Any:
    wide = read.repeat_interleave(weight.shape[0] // len(read))
    if len(node.args) > 6:
        walk.resizes.append(Resize(node.name, 6, (Counted(read, 0, 0, len(read)),), scalar=True))
    kernel = met(walk, weight, along(wide, 0, weight.shape))
    parts = [part for part in parts_of(kernel) if 0 in varied(walk.atoms, part)]
    return along(lead(parts[0], 0), 1, value.shape) if parts else fixed(value.shape)


def transposed(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a transposed convolution whose weight is given as a value."""
    labels, weight, bias = (walk.of(a) for a in (*node.args, None)[:3])
    groups: Any = node.args[6] if len(node.args) > 6 else node.kwargs.get("groups", 1)
    read = _positions_alone(walk, labels)
    if read is None or groups != 1:
        return whole(walk, node, value)
    _tell_sides(walk, node.args[1], {1: "out", 0: "in"})
    made = _convolved(walk, read, weight, "yz", value)
    return made if bias is None else _with_bias(walk, made, bias)


def _convolved(walk: Walk, read: Tensor, weight: Any, letters: str, value: Tensor) -> Any:
    positions = LETTERS[: value.ndim - 2]
    sizes = {"z": value.shape[1]}
    made = contract(walk, [(read, "y"), (weight, letters + positions)], "z", sizes)
    parts = [along(part, 1, value.shape) for part in parts_of(made)]
    return united(walk.atoms, parts, value.shape)


def _positions_alone(walk: Walk, labels: Any) -> Tensor | None:
    """Return the atoms of the channels, dimension 1; None where other dimensions change by themselves."""
    parts = [part for part in parts_of(labels) if varied(walk.atoms, part)]
    if len(parts) > 1 or labels.ndim < 3:
        return None
    return contracted(walk, parts[0] if parts else parts_of(labels)[0], 1)


def _with_bias(walk: Walk, made: Any, bias: Any) -> Any:
    return met(walk, made, bias.reshape([-1, *[1] * (made.ndim - 2)])) if isinstance(bias, Tensor) else made


def norm_of_dims(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a norm over the last dimensions whose weights are given as values."""
    labels: Tensor | Factors = walk.of(node.args[0])
    sizes: Any = node.args[1]
    for argument in node.args[2:4]:
        if isinstance(argument, fx.Node):
            labels = met(walk, labels, walk.of(argument))
    if all(isinstance(size, int) for size in sizes):
        first = value.ndim - len(sizes)
        for part in parts_of(labels):
            counted = tuple(Counted(part, first + i, 0, size) for i, size in enumerate(sizes))
            walk.resizes.append(Resize(node.name, 1, counted))
    return labels


def norm_of_channels(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a batch norm, an instance norm or a group norm whose numbers are given as values."""
    labels: Tensor | Factors = walk.of(node.args[0])
    groups = node.args[1] if isinstance(node.args[1], int) else 1
    shape = [1, -1, *[1] * (value.ndim - 2)]
    for argument in node.args[1:]:
        if isinstance(argument, fx.Node) and isinstance(numbers := walk.of(argument), Tensor):
            labels = met(walk, labels, numbers.reshape(shape))
    for part in parts_of(labels):
        if groups > 1 and 1 in varied(walk.atoms, part):
            others = [d for d in range(part.ndim) if d != 1]
            walk.evens.append(Even(merged(walk.atoms, part, others, MIXED).reshape(-1), groups))
    return labels


def recurrent(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Let a recurrent layer read fewer inputs; what it remembers and writes stays whole."""
    weights = {a: walk.values[a] for a in node.all_input_nodes if a.op == "get_attr"}
    first = node.args[0]
    assert isinstance(first, fx.Node)
    labels, read = walk.labels[first], None
    if isinstance(labels, Tensor) and walk.values[first].ndim == 3:
        read = contracted(walk, labels, 2)
    for source in node.all_input_nodes:
        name = str(source.target)
        reads = source in weights and "weight_ih_l0" in name and (name, 1) in walk.own
        if reads and read is not None:
            join(walk.atoms, walk.own[name, 1], read, WHY)
            walk.sides[name, 1] = "in"
            walk.atoms.pin(walk.own[name, 0].numpy(), "it is part of what a recurrent layer remembers")
        elif source is not first or read is None:
            walk.pin(walk.labels[source], "it is part of what a recurrent layer remembers")
    return everything_fixed(value)


def everything_fixed(value: Any) -> Any:
    """Return labels of what always stays, in the form of the value."""
    if isinstance(value, Tensor):
        return fixed(value.shape)
    if isinstance(value, list | tuple):
        return [everything_fixed(part) for part in value]
    return None


def whole(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Keep what goes in and what comes out whole: the weights are computed in the forward pass."""
    for source in node.all_input_nodes:
        walk.pin(walk.labels[source], COMPUTED)
    return everything_fixed(value)


def _tell_sides(walk: Walk, weight: Any, sides: Mapping[int, str]) -> None:
    """Say which dimension of a weight is which side, also where it is computed from a parameter of its shape."""
    shape = walk.values[weight].shape
    for name, value in _behind(walk, weight):
        if value.shape == shape:
            walk.sides.update({(name, dim): side for dim, side in sides.items()})


def _behind(walk: Walk, node: fx.Node) -> Iterable[tuple[str, Tensor]]:
    seen, ahead = {node}, [node]
    while ahead:
        at = ahead.pop()
        if at.op == "get_attr":
            value = walk.attribute(str(at.target))
            if isinstance(value, nn.Parameter):
                yield str(at.target), value
        new = [a for a in at.all_input_nodes if a not in seen]
        seen.update(new)
        ahead += new


FUNCTIONS: Mapping[str, Rule] = {
    **dict.fromkeys(("matmul", "bmm", "mm", "mv", "dot"), product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), product_and_sum),
    "einsum": einsum,
    "linear": linear,
    "layer_norm": norm_of_dims,
    "rms_norm": norm_of_dims,
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm", "prelu"), norm_of_channels),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent),
}
