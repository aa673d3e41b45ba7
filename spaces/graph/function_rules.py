"""Layers as functions: their weights are parameters of other modules, or computed in the forward pass."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
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
    return _multiplied(walk, node.args[0], node.args[1], value)


def _multiplied(walk: Walk, left: Any, right: Any, value: Tensor) -> Any:
    first, second = walk.of(left), walk.of(right)
    rows = "x" if first.ndim > 1 else ""
    columns = "z" if second.ndim > 1 else ""
    rank = max(first.ndim, second.ndim, 2) - 2
    ours, theirs = (LETTERS[:rank][rank - max(part.ndim - 2, 0) :] for part in (first, second))
    spelled = [ours + rows + "y", theirs + "y" + columns]
    return _contracted(walk, [left, right], spelled, LETTERS[:rank] + rows + columns, value)


def _contracted(walk: Walk, nodes: Sequence[fx.Node], spelled: Sequence[str], out: str, value: Tensor) -> Any:
    for node, letters in zip(nodes, spelled, strict=True):
        if node in walk.pure and not walk.pure.issuperset(nodes):  # it is a weight
            _tell_sides(walk, node, {d: "out" if letter in out else "in" for d, letter in enumerate(letters)})
    operands = [(walk.of(node), letters) for node, letters in zip(nodes, spelled, strict=True)]
    return contract(walk, operands, out, dict(zip(out, value.shape, strict=True)))


def product_and_sum(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a product of two matrices that is added to something."""
    return met(walk, _multiplied(walk, node.args[1], node.args[2], value), walk.of(node.args[0]))


def einsum(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Join what an Einstein sum sums over, and what lies side by side in it."""
    operands: Any = node.args[1]
    spelled = einstein(str(node.args[0]), [part.shape for part in walk.of(operands)])
    return whole(walk, node, value) if spelled is None else _contracted(walk, operands, *spelled, value)


def tensordot(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Join what a product of two tensors sums over."""
    left, right, ours, theirs = node.args[:4]
    first, second = list(LETTERS[: walk.of(left).ndim]), list(LETTERS[-walk.of(right).ndim :].upper())
    for a, b in zip(ours, theirs, strict=True):  # type: ignore[arg-type]
        second[b] = first[a]
    out = [c for c in first if c not in second] + [c for c in second if c not in first]
    return _contracted(walk, [left, right], ["".join(first), "".join(second)], "".join(out), value)  # type: ignore[list-item]


def embedding(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of an embedding whose table is given as a value: its rows stay."""
    table = walk.of(node.args[0])
    for part in parts_of(table):
        if 0 in varied(walk.atoms, part):
            walk.pin(part, "it is taken by a table of numbers")
    parts = [along(lead(part, 1), value.ndim - 1, value.shape) for part in parts_of(table)]
    return united(walk.atoms, parts, value.shape)


def linear(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Apply the rule of a linear layer whose weight is given as a value."""
    labels, weight, bias = (walk.of(a) for a in (*node.args, None)[:3])
    before = LETTERS[: labels.ndim - 1]
    weights = "zy" if weight.ndim > 1 else "y"
    made = _contracted(walk, node.args[:2], [before + "y", weights], before + weights[:-1], value)  # type: ignore[arg-type]
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


def attention(walk: Walk, node: fx.Node, value: Tensor) -> Any:
    """Let whole heads of queries, keys and values go together: [..., head, token, feature]."""
    query, key, values = (walk.of(a) for a in node.args[:3])
    rank = query.ndim - 2
    if key.ndim != query.ndim or values.ndim != query.ndim:
        return whole(walk, node, value)
    if rank and 1 != key.shape[-3] != query.shape[-3]:  # several queries share a key
        key, values = (_repeated(walk, part, query.shape[-3] // part.shape[-3]) for part in (key, values))
    before = LETTERS[:rank]
    sizes = dict(zip(before + "xy", (*value.shape[:-1], key.shape[-2]), strict=True))
    weights = contract(walk, [(query, before + "xz"), (key, before + "yz")], before + "xy", sizes)
    mask = node.args[3] if len(node.args) > 3 else node.kwargs.get("attn_mask")
    if isinstance(mask, fx.Node) and walk.labels[mask] is not None:
        weights = met(walk, weights, walk.labels[mask])
    sizes = dict(zip(before + "xz", value.shape, strict=True))
    return contract(walk, [(weights, before + "xy"), (values, before + "yz")], before + "xz", sizes)


def _repeated(walk: Walk, labels: Any, times: int) -> Any:
    parts = [part.repeat_interleave(times, -3) for part in parts_of(labels)]
    return united(walk.atoms, parts, parts[0].shape)


def recurrent(walk: Walk, node: fx.Node, value: Any) -> Any:
    """Let a recurrent layer read fewer inputs; what it remembers and writes stays whole."""
    first = node.args[0]
    assert isinstance(first, fx.Node)
    read = None
    if isinstance(walk.labels[first], Tensor) and walk.values[first].ndim in (2, 3):
        read = contracted(walk, walk.labels[first], walk.values[first].ndim - 1)
    why = "it is part of what a recurrent layer remembers"
    for source in node.all_input_nodes:
        own, name = walk.labels[source], str(source.target)
        reads = source.op == "get_attr" and ("weight_ih_l0" in name or name.endswith("weight_ih"))
        if reads and read is not None:
            for part in parts_of(own):
                if 1 in varied(walk.atoms, part):
                    join(walk.atoms, lead(part, 1), read, WHY)
                else:
                    walk.pin(part, why)
            walk.sides[name, 1] = "in"
        elif source is not first or read is None:
            walk.pin(own, why)
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
    **dict.fromkeys(("matmul", "bmm", "mm", "mv", "dot", "vdot"), product),
    **dict.fromkeys(("addmm", "baddbmm", "addmv"), product_and_sum),
    "einsum": einsum,
    "tensordot": tensordot,
    "embedding": embedding,
    "scaled_dot_product_attention": attention,
    "linear": linear,
    "layer_norm": norm_of_dims,
    "rms_norm": norm_of_dims,
    **dict.fromkeys(("batch_norm", "instance_norm", "group_norm", "prelu"), norm_of_channels),
    **dict.fromkeys(("conv1d", "conv2d", "conv3d", "convolution"), convolution),
    **dict.fromkeys(("conv_transpose1d", "conv_transpose2d", "conv_transpose3d"), transposed),
    **dict.fromkeys(("lstm", "gru", "rnn_tanh", "rnn_relu"), recurrent),
    **dict.fromkeys(("lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"), recurrent),
}
