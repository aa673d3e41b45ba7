"""A captured network that looks at smaller inputs: the same layers and weights, with other numbers between them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from ...errors import one_line
from ..inputs import Inputs, call, joined, mapped, tensors_of
from .capture import capture
from .interface import Interface
from .shrink import Number
from .single_precision import in_single_precision

EIGHTHS = (7, 6, 5, 4)
"""Parts of the full size that are tried, in eighths."""
COARSEST = 32
"""Sizes are multiples of a power of two up to this, as most networks halve their maps five times."""

ROUNDING = 1e-4
"""Pixels on top, so that a factor times the full size is not a little less than a whole number."""
SAME = 1e-3
"""Most that outputs may differ by from those of the network on inputs that were resized before, of the largest."""


@dataclass(frozen=True)
class Resizing:
    """What a graph needs to look at smaller inputs. It is data: it says nothing of weights, and travels to workers.

    Attributes:
        size: Pixels of the shorter side of an image, or tokens of a sequence.
        shape: (rows, columns) that images are resized to; (tokens,) that sequences are cut to.
        full: The shape that they have.
        numbers: Node name -> position among the numbers of its arguments -> number.
        areas: Name of a layer or recurrent layer -> positions of its output map, as in `Layer.area`.
        falls: Name of a group -> a number in an operator -> by how much that falls with each channel, as in
            `Group.numbers`; only of groups with numbers that count positions too.
    """

    size: int
    shape: tuple[int, ...]
    full: tuple[int, ...]
    numbers: Mapping[str, Mapping[int, float | None]] = field(default_factory=dict)
    areas: Mapping[str, int] = field(default_factory=dict)
    falls: Mapping[str, Mapping[Number, tuple[int, ...]]] = field(default_factory=dict)


def sizes_of(example_input: Inputs) -> tuple[tuple[int, ...], ...]:
    """Return the shapes that are worth a try, largest first; none where inputs are neither images nor sequences.

    Args:
        example_input: [1, channels, rows, columns] of an image, or [1, tokens] whole numbers of each input.

    Returns:
        Shapes as in `Resizing`.
    """
    parts = tensors_of(example_input)
    first = parts[0]
    if len(parts) == 1 and first.ndim == 4 and first.is_floating_point():
        full = tuple(first.shape[2:])
    elif all(part.ndim == 2 and part.shape == first.shape and not part.is_floating_point() for part in parts):
        full = tuple(first.shape[1:])
    else:
        return ()
    found: list[tuple[int, ...]] = []
    for eighths in EIGHTHS:
        shape = tuple(_snapped(side, eighths) for side in full)
        known = {min(each) for each in found}
        if all(0 < s < side for s, side in zip(shape, full, strict=True)) and min(shape) not in known:
            found.append(shape)
    return tuple(found)


def find_resizing(
    model: nn.Module, graph: fx.GraphModule, example_input: Inputs, shape: tuple[int, ...], interface: Interface | None
) -> Resizing | str:
    """Capture a network once more with smaller inputs, and return how that graph differs.

    Args:
        model: The network that was captured, in eval mode on the CPU. It is not changed.
        graph: What `capture` made of it.
        example_input: [1, ...], of each input, in full size.
        shape: What inputs become; see `Resizing`.
        interface: As `capture` took it.

    Returns:
        The difference, or why there is none: the network cannot look at such inputs, or becomes another one.
    """
    few = joined([example_input] * 2)
    smaller = _cut(few, shape)
    try:
        again = in_single_precision(capture(model, _as_taken(model, _cut(example_input, shape)), interface))
        numbers = dict(_differences(graph, again))
        resizing = Resizing(min(shape), shape, tuple(tensors_of(example_input)[0].shape[-len(shape) :]), numbers)
        resized = fx.GraphModule(graph, _copied(graph.graph)).eval()
        resize(resized, resizing)
        with torch.no_grad():
            # some networks change their inputs in place
            full, wanted, got = (
                call(network, mapped(torch.clone, given))
                for network, given in ((graph, few), (again, smaller), (resized, few))
            )
    except _Another as error:
        return str(error)
    except Exception as error:  # whatever the network, or torch.export, says of other sizes
        return f"it cannot look at inputs of {'x'.join(map(str, shape))}: {one_line(error)[:120]}"
    if not isinstance(got, Tensor) or got.shape != full.shape:
        return "its outputs change their shape with the size of its inputs"
    if not float((got - wanted).abs().max()) <= SAME * float(wanted.abs().max()):  # nor where it is no number
        return "with smaller inputs it becomes another network"
    return resizing


def resize(module: fx.GraphModule, resizing: Resizing) -> None:
    """Let a captured network look at smaller inputs, in place. It still takes inputs of the full size.

    Images are resized by bilinear interpolation at the beginning of the graph, sequences are cut behind their first
    tokens.

    Args:
        module: The network, whose nodes have the names that `capture` gave them.
        resizing: How it differs.
    """
    graph = module.graph
    for node in graph.nodes:
        if numbers := resizing.numbers.get(node.name):
            node.args, node.kwargs = _with_numbers((node.args, node.kwargs), numbers)
    last = [node for node in graph.nodes if node.op == "placeholder"][-1]
    for node in [node for node in graph.nodes if node.op == "placeholder"]:
        with graph.inserting_after(last):
            if len(resizing.shape) == 1:
                smaller = graph.call_function(torch.ops.aten.slice.Tensor, (node, 1, 0, resizing.shape[0]))
            else:
                factors = [(side + ROUNDING) / full for side, full in zip(resizing.shape, resizing.full, strict=True)]
                # by factors, as sizes would hold the batch
                smaller = graph.call_function(torch.ops.aten.upsample_bilinear2d.vec, (node, None, False, factors))
        node.replace_all_uses_with(smaller, lambda user, own=smaller: user is not own)
    graph.lint()
    module.recompile()


def changed_numbers(module: fx.GraphModule, resizing: Resizing) -> frozenset[Number]:
    """Return the numbers in operators that are others with smaller inputs, named as those that fall with channels.

    Args:
        module: The network, whose nodes have the names that `capture` gave them.
        resizing: How it differs.
    """
    found = set()
    for node in module.graph.nodes:
        changed, first = resizing.numbers.get(node.name, {}), 0
        for index, argument in enumerate(node.args):
            count, listed = len(_leaves(argument)), isinstance(argument, list | tuple)
            places = [place for place in range(count) if first + place in changed]
            found.update(Number(node.name, index, place if listed else None) for place in places)
            first += count
    return frozenset(found)


class _Another(Exception):
    """The network becomes another one."""


def _differences(graph: fx.GraphModule, again: fx.GraphModule) -> Iterator[tuple[str, dict[int, float | None]]]:
    nodes, others = list(graph.graph.nodes), list(again.graph.nodes)
    if [(n.name, n.op, str(n.target)) for n in nodes] != [(n.name, n.op, str(n.target)) for n in others]:
        raise _Another("with smaller inputs it runs other operators")
    for node, other in zip(nodes, others, strict=True):
        if node.op == "get_attr" and not _same(_attribute(graph, node), _attribute(again, other)):
            raise _Another(f"with smaller inputs its constant {node.target} is another one")
        mine, its = _leaves((node.args, node.kwargs)), _leaves((other.args, other.kwargs))
        if len(mine) != len(its):
            raise _Another("with smaller inputs its operators take other arguments")
        numbers: dict[int, float | None] = {}
        for index, (a, b) in enumerate(zip(mine, its, strict=True)):
            if isinstance(a, fx.Node):
                if not isinstance(b, fx.Node) or a.name != b.name:
                    raise _Another("with smaller inputs its operators take other arguments")
            elif a != b:
                if not all(isinstance(value, int | float | None) for value in (a, b)):
                    raise _Another("with smaller inputs its operators take other arguments")
                numbers[index] = b
        if numbers:
            yield node.name, numbers


def _leaves(arguments: Any) -> list[Any]:
    found: list[Any] = []
    fx.node.map_aggregate(arguments, lambda leaf: found.append(leaf))
    return found


def _with_numbers(arguments: Any, numbers: Mapping[int, float | None]) -> Any:
    places = itertools.count()
    return fx.node.map_aggregate(arguments, lambda leaf: numbers.get(next(places), leaf))


def _attribute(module: fx.GraphModule, node: fx.Node) -> Any:
    found: Any = module
    for part in str(node.target).split("."):
        found = getattr(found, part)
    return found


def _same(a: Any, b: Any) -> bool:
    return isinstance(a, Tensor) and isinstance(b, Tensor) and a.shape == b.shape and torch.equal(a, b)


def _copied(graph: fx.Graph) -> fx.Graph:
    made = fx.Graph()
    known: dict[fx.Node, fx.Node] = {}
    made.output(made.graph_copy(graph, known))
    return made


def _cut(inputs: Inputs, shape: tuple[int, ...]) -> Inputs:
    if len(shape) == 1:
        return mapped(lambda part: part[:, : shape[0]], inputs)
    return mapped(lambda part: nn.functional.interpolate(part, shape, mode="bilinear", align_corners=False), inputs)


def _as_taken(model: nn.Module, inputs: Inputs) -> Inputs:
    """Return inputs in the number format of the network, which may be another than single precision."""
    kind = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return mapped(lambda part: part.to(kind) if part.is_floating_point() else part, inputs)


def _snapped(side: int, eighths: int) -> int:
    step = 1
    while step * 2 <= min(COARSEST, side // 8):
        step *= 2
    return step * max(1, round(side * eighths / 8 / step))
