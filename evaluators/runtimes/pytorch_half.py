"""A network in bfloat16: where it says float32 itself it keeps that, and what meets is brought to one format."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.fx.node import map_aggregate

from ...errors import MeasurementError, one_line

HALF = torch.bfloat16
LARGEST = torch.finfo(HALF).max
"""The largest number of the format: float32 has larger ones, which would become infinite."""


class Half(nn.Module):
    """A network in bfloat16, with float32 outside."""

    def __init__(self, network: nn.Module, example: tuple[Tensor, ...]) -> None:
        """Convert a copy of a network.

        Args:
            network: In eval mode, on the CPU.
            example: Its inputs, of a batch that it takes.

        Raises:
            MeasurementError: An operator of it runs neither in bfloat16 nor in float32.
        """
        super().__init__()
        self.inner = copy.deepcopy(network)
        if isinstance(self.inner, fx.GraphModule):
            _Conversion(self.inner).carry_out(_lowered(example))
        else:
            self.inner.to(HALF)

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the output in float32."""
        return self.inner(*_lowered(inputs)).float()  # type: ignore[no-any-return]


class _Conversion:
    """Runs a captured network operator by operator, and adds casts where operators would see two formats.

    Its weights are in bfloat16. What the network casts to float32, such as the statistics of a norm, and what it makes
    of constants alone, such as the angles of positions, is computed in float32 until it meets the rest. An operator
    that has no kernel for bfloat16 runs in float32 too.
    """

    def __init__(self, network: fx.GraphModule) -> None:
        self._network, self._graph = network, network.graph
        self._values: dict[fx.Node, Any] = {}
        self._casts: dict[tuple[fx.Node, torch.dtype], fx.Node] = {}
        # a cast is a copy: where operators write into their arguments, an earlier one may be out of date
        self._writes = any(_written(node) is not None for node in self._graph.nodes)

    def carry_out(self, example: tuple[Tensor, ...]) -> None:
        constants = {str(node.target) for node in self._graph.nodes if node.op == "get_attr"}
        kept = {name: value for name, value in self._network.named_buffers() if name in constants and _is_float(value)}
        self._network.to(HALF)
        for name, value in kept.items():
            self._put(name, value)
        given = iter(example)
        with torch.no_grad():
            for node in list(self._graph.nodes):
                if node.op == "placeholder":
                    self._values[node] = next(given)
                elif node.op == "get_attr":
                    self._values[node] = _attribute(self._network, str(node.target))
                elif node.op != "output":
                    node.args, node.kwargs = (map_aggregate(part, _in_range) for part in (node.args, node.kwargs))
                    self._run(node)
        self._graph.lint()
        self._network.recompile()

    def _run(self, node: fx.Node) -> None:
        held = self._formats(node)
        if len(held) > 1:
            written = _written(node)
            module = self._own(node)
            self._bring(node, module or (self._values[written].dtype if written else HALF))
        try:
            self._values[node] = self._result(node)
        except (RuntimeError, NotImplementedError) as error:
            if HALF not in held:
                raise MeasurementError(f"{node.target} cannot be run: {one_line(error)}; plan 32 bits") from error
            if node.op == "call_module":
                self._network.get_submodule(str(node.target)).float()
            self._bring(node, torch.float32)
            try:
                self._values[node] = self._result(node)
            except (RuntimeError, NotImplementedError) as again:
                raise MeasurementError(
                    f"{node.target} runs neither in bfloat16 nor in float32: {one_line(again)}; plan 32 bits"
                ) from error

    def _formats(self, node: fx.Node) -> set[torch.dtype]:
        found = {self._values[n].dtype for n in node.all_input_nodes if _is_float(self._values[n])}
        own = self._own(node)
        return found if own is None or not found else found | {own}

    def _own(self, node: fx.Node) -> torch.dtype | None:
        """Return the format of a module's weights; None where the node is no module, or has none."""
        if node.op != "call_module":
            return None
        parameters = self._network.get_submodule(str(node.target)).parameters()
        return next((p.dtype for p in parameters if p.is_floating_point()), None)

    def _bring(self, node: fx.Node, kind: torch.dtype) -> None:
        for given in node.all_input_nodes:
            if _is_float(self._values[given]) and self._values[given].dtype != kind:
                node.replace_input_with(given, self._cast(given, kind, node))

    def _cast(self, given: fx.Node, kind: torch.dtype, before: fx.Node) -> fx.Node:
        if (given, kind) in self._casts and not self._writes:
            return self._casts[given, kind]
        with self._graph.inserting_before(before):
            if given.op == "get_attr" and not self._writes:  # cast once, and not whenever it runs
                name = f"{given.target}_{str(kind).removeprefix('torch.')}"
                self._put(name, _within(self._values[given]).to(kind))
                made = self._graph.get_attr(name)
                self._values[made] = _attribute(self._network, name)
            else:
                made = self._graph.call_function(torch.ops.aten.to.dtype, (given, kind))
                self._values[made] = self._values[given].to(kind)
        self._casts[given, kind] = made
        return made

    def _result(self, node: fx.Node) -> Any:
        args: Any = fx.map_arg(node.args, self._values.__getitem__)
        kwargs: Any = fx.map_arg(node.kwargs, self._values.__getitem__)
        if node.op == "call_module":
            return self._network.get_submodule(str(node.target))(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], str(node.target))(*args[1:], **kwargs)
        function: Any = node.target
        return function(*args, **kwargs)

    def _put(self, name: str, value: Tensor) -> None:
        owner, _, last = name.rpartition(".")
        self._network.get_submodule(owner).register_buffer(last, value)


def _lowered(inputs: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return tuple(part.to(HALF) if part.is_floating_point() else part for part in inputs)


def _written(node: fx.Node) -> fx.Node | None:
    """Return the argument that an operator writes into, None where there is none."""
    schema = getattr(node.target, "_schema", None)
    for argument, given in zip(schema.arguments if schema else (), node.args, strict=False):
        if argument.alias_info is not None and argument.alias_info.is_write and isinstance(given, fx.Node):
            return given
    return None


def _attribute(network: nn.Module, name: str) -> Any:
    owner, _, last = name.rpartition(".")
    return getattr(network.get_submodule(owner), last)


def _is_float(value: Any) -> bool:
    return isinstance(value, Tensor) and value.is_floating_point()


def _in_range(argument: Any) -> Any:
    """Return a number that bfloat16 has: the least of float32, as masks of attention have it, would be infinite."""
    if isinstance(argument, float) and LARGEST < abs(argument) < float("inf"):
        return LARGEST if argument > 0 else -LARGEST
    return argument


def _within(value: Tensor) -> Tensor:
    return torch.where(value.isinf(), value, value.clamp(-LARGEST, LARGEST))
