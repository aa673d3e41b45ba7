"""Where a teacher and its students are looked into: ends of blocks, and attention."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TypeVar

from torch import fx, nn

from ..spaces.graph.operator_names import ALONE, PAIRS, POOLED
from ..spaces.graph.operator_rules import name_of
from ..spaces.graph.points import find_points, learned_nodes
from .spelled_attention import ATTENTION

MOST_TAPS = 4
"""Points that are looked at: enough for each stage of a network, and few enough to keep of each batch."""
ACTIVATIONS = frozenset(["relu", "relu6", "gelu", "silu", "hardswish", "hardtanh", "elu", "selu", "leaky_relu", "mish"])
SECOND = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
LAST = (nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.Embedding)
KEEPING = frozenset({*ALONE, *PAIRS, *POOLED, "cat", "chunk", "split", "split_with_sizes", "getitem", "slice"})
"""Operators that leave dimensions in their order."""
NORMS = {"batch_norm": 1, "group_norm": 1, "layer_norm": -1, "rms_norm": -1}


T = TypeVar("T")


@dataclass(frozen=True)
class Places:
    """Where a network is looked into.

    Attributes:
        points: Names of nodes of its main stream; None for one that a student has no more.
        channel_dims: For each of them, in which dimension its channels lie: 1 or -1; 0 where nothing tells.
        attentions: Names of its operators of attention; None as above.
        ends: Names of all nodes that end a block, in order of execution.
    """

    points: tuple[str | None, ...]
    channel_dims: tuple[int, ...]
    attentions: tuple[str | None, ...]
    ends: tuple[str, ...]

    def without_attention(self) -> Places:
        """Return the same without attention, whose weights cost something to compute."""
        return replace(self, attentions=())


def find_places(teacher: fx.GraphModule) -> Places:
    """Return where a teacher is looked into: at the ends of some blocks, and at some of its attention.

    Args:
        teacher: The network, as it was captured.
    """
    ends = block_ends(teacher)
    chosen = spaced(ends, MOST_TAPS)
    dims = [channel_dim(teacher, node) for node in chosen]
    known = [dim for dim in dims if dim]
    usual = max(known, key=known.count, default=0)
    return Places(
        tuple(node.name for node in chosen),
        tuple(dim or usual for dim in dims),
        tuple(spaced([node.name for node in attention_nodes(teacher)], MOST_TAPS)),
        tuple(node.name for node in ends),
    )


def places_in(student: fx.GraphModule, places: Places) -> Places:
    """Return the places of a student that are compared with those of its teacher, in the same order.

    Args:
        student: Made of a copy of the teacher's graph, in which nodes keep their names.
        places: The teacher's.
    """
    ends = {node.name for node in student.graph.nodes}.intersection(places.ends)
    attentions = {node.name for node in attention_nodes(student)}
    points = [name for name in places.points if name is not None]
    return Places(
        match_points(places.ends, points, ends),
        places.channel_dims,
        tuple(name if name in attentions else None for name in places.attentions),
        tuple(name for name in places.ends if name in ends),
    )


def match_points(ends: Sequence[str], points: Sequence[str], left: set[str]) -> tuple[str | None, ...]:
    """Return which point of a student stands for each point of its teacher; None where none does.

    A block that was dropped gives what the one before it gave. Where several points come to stand for one, it is for
    the last of them, since what follows it in the student follows that one in the teacher.

    Args:
        ends: The ends of the teacher's blocks, in order of execution.
        points: Those that are looked at, in the same order.
        left: Those that the student still has.
    """
    found: dict[str, int] = {}
    for i, point in enumerate(points):
        before = [end for end in ends[: ends.index(point) + 1] if end in left]
        if before:
            found[before[-1]] = i
    by_place = {i: name for name, i in found.items()}
    return tuple(by_place.get(i) for i in range(len(points)))


def spaced(items: Sequence[T], most: int) -> list[T]:
    """Return at most so many of the items, evenly spaced, with the last."""
    count = min(most, len(items))
    return [items[(i + 1) * len(items) // count - 1] for i in range(count)]


def block_ends(module: fx.GraphModule) -> tuple[fx.Node, ...]:
    """Return the nodes of the main stream that end a block, in order of execution.

    They are where ways meet, with the activation behind; in a plain chain its activations, and all of it without any.

    Args:
        module: The network, as it was captured.
    """
    points, learned = find_points(module), learned_nodes(module)
    follows = [b in a.users and _is_activation(module, b) for a, b in pairwise(points)] + [False]
    ends = []
    for i, node in enumerate(points):
        if sum(a in learned for a in node.all_input_nodes) > 1:
            while follows[i]:
                i += 1
            ends.append(points[i])
    chain = tuple(node for node in points if _is_activation(module, node))
    return tuple(ends) or chain or points


def attention_nodes(module: fx.GraphModule) -> list[fx.Node]:
    """Return the operators of attention, in order of execution."""
    return [node for node in module.graph.nodes if node.op == "call_function" and name_of(node) == ATTENTION]


def channel_dim(module: fx.GraphModule, node: fx.Node) -> int:
    """Return in which dimension of a value the channels lie: 1 or -1; 0 where nothing tells.

    The nearest layer tells, which reads it or wrote it through nothing but operators that keep dimensions in order.

    Args:
        module: The network, as it was captured.
        node: The value.
    """
    seen, near = {node}, [node]
    while near:
        at = near.pop(0)
        written = _dim_of_layer(module, at)  # by a layer that wrote it, at the node itself or before it
        if written is not None:
            return written
        for user in at.users:
            if (read := _dim_of_layer(module, user)) is not None:
                return read
        beside = [*(a for a in at.all_input_nodes if _keeps_order(module, at)), *at.users]
        fresh = [a for a in beside if a not in seen and (a in at.all_input_nodes or _keeps_order(module, a))]
        seen.update(fresh)
        near += fresh
    return 0


def _is_activation(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        return type(module.get_submodule(str(node.target))).__module__ == "torch.nn.modules.activation"
    return node.op == "call_function" and name_of(node).rstrip("_") in ACTIVATIONS


def _keeps_order(module: fx.GraphModule, node: fx.Node) -> bool:
    if node.op == "call_module":
        home = type(module.get_submodule(str(node.target))).__module__
        return home in ("torch.nn.modules.activation", "torch.nn.modules.dropout", "torch.nn.modules.pooling")
    return node.op == "call_function" and name_of(node).rstrip("_") in KEEPING


def _dim_of_layer(module: fx.GraphModule, node: fx.Node) -> int | None:
    if node.op == "call_function":
        return NORMS.get(name_of(node))
    layer = module.get_submodule(str(node.target)) if node.op == "call_module" else None
    return 1 if isinstance(layer, SECOND) else -1 if isinstance(layer, LAST) else None
