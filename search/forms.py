"""What a network computes, whatever its weights are, as a digest: alike in all processes and on all machines."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, fx, nn

_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")
"""What Python says of where something lies in the memory of a process."""


def form_by_names(graph: fx.GraphModule) -> str:
    """Return the digest of earlier versions: of the names of operators and the shapes of weights alone."""
    nodes = [f"{node.op} {node.name}" for node in graph.graph.nodes]
    weights = [f"{name} {list(value.shape)}" for name, value in graph.state_dict().items()]
    return _digest([*nodes, *weights])


def form_of(graph: fx.GraphModule) -> str:
    """Return a digest of all operators, with their strides, paddings, groups and the like, and of the weights' shapes.

    It is the same in another process, and of a graph that was pickled. Another version of PyTorch may give another one.
    """
    lines = []
    for name, module in graph.named_modules():
        if isinstance(module, fx.GraphModule):  # a part that is run apart is a graph of its own
            lines += [f"graph {name}", *_operators(module)]
    held = {**dict(graph.named_buffers()), **graph.state_dict()}
    return _digest([*lines, *(f"{name} {list(value.shape)} {value.dtype}" for name, value in sorted(held.items()))])


def _operators(graph: fx.GraphModule) -> Iterator[str]:
    number: dict[fx.Node, int] = {}
    for node in graph.graph.nodes:
        given = _plain(node.args, number), _plain(node.kwargs, number)
        number[node] = len(number)
        if node.op == "placeholder":
            yield node.op  # its name is made up where a graph is pickled
            continue
        yield f"{node.op} {_plain(node.target, number)} {given}"
        if node.op == "call_module":
            yield from map(_settings, graph.get_submodule(node.target).modules())


def _settings(module: nn.Module) -> str:
    # what a module prints of itself leaves some out, such as how an average is taken at the borders
    known = {name: _plain(getattr(module, name, None), {}) for name in getattr(module, "__constants__", ())}
    return f"{_name(type(module))} {module.extra_repr()} {known}"


def _plain(value: Any, number: dict[fx.Node, int]) -> str:
    """Return what an operator is given, without what differs between processes."""
    if isinstance(value, fx.Node):
        return f"%{number[value]}"
    if isinstance(value, str):
        return value
    if isinstance(value, list | tuple):
        return f"[{', '.join(_plain(each, number) for each in value)}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{name}: {_plain(each, number)}' for name, each in sorted(value.items()))}}}"
    if isinstance(value, slice):
        return f"slice{_plain((value.start, value.stop, value.step), number)}"
    if isinstance(value, Tensor):
        return f"tensor {list(value.shape)} {value.dtype}"
    if isinstance(value, torch._ops.OpOverload | torch._ops.HigherOrderOperator):
        return str(value)
    return _name(value) if callable(value) else repr(value)


def _name(thing: Any) -> str:
    return f"{getattr(thing, '__module__', '')}.{getattr(thing, '__qualname__', '') or type(thing).__qualname__}"


def _digest(lines: list[str]) -> str:
    return hashlib.sha256(_ADDRESS.sub("", "\n".join(lines)).encode()).hexdigest()[:16]
