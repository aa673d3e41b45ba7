"""Recurrent layers that compute as they will after quantization: operators in a graph, which no module runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..spaces.graph.operator_rules import name_of
from ..spaces.recurrent import recurrent_nodes

Round = Callable[[Tensor], Tensor]


class RoundedReading:
    """A recurrent layer of a network whose weights, and what it reads, are rounded while that is switched on.

    A stack of layers runs one by one meanwhile, since each rounds what it reads. What a layer remembers from one step
    to the next is left alone: it lies between -1 and 1, and fused kernels do not show it.

    The operator is replaced in the network's graph for good by a function that does the same while it is switched off.
    Graphs that are copied of it afterwards share the switch.
    """

    def __init__(self, module: nn.Module, name: str, weight: Round, read: Round | None) -> None:
        """Put the function into the network's graph.

        Args:
            module: The captured network.
            name: Of the recurrent layer.
            weight: Rounds a weight [rows, numbers].
            read: Rounds what is read, [..., numbers]; None where that stays as it is.
        """
        assert isinstance(module, fx.GraphModule)
        self.on = False
        self._weight, self._read = weight, read
        for node in recurrent_nodes(module)[name]:
            assert callable(node.target)
            node.target = self._switched(node.target, name_of(node))
        module.recompile()

    def _switched(self, operator: Callable[..., Any], name: str) -> Callable[..., Any]:
        def recurrent(read: Tensor, state: Any, weights: Sequence[Tensor], *rest: Any) -> Any:
            if not self.on:
                return operator(read, state, weights, *rest)
            return self._rounded(operator, read, state, weights, *rest)

        recurrent._opname = name  # type: ignore[attr-defined]  # what the operator is called, for who looks at the graph
        return recurrent

    def _rounded(
        self,
        operator: Callable[..., Any],
        read: Tensor,
        state: Any,
        weights: Sequence[Tensor],
        biased: bool,
        layers: int,
        dropout: float,
        training: bool,
        both_ways: bool,
        batch_first: bool,
    ) -> Any:
        rounded = [self._weight(weight) if weight.ndim == 2 else weight for weight in weights]
        rest = (dropout, training, both_ways, batch_first)
        if self._read is None:
            return operator(read, state, rounded, biased, layers, *rest)
        many, each = isinstance(state, list | tuple), 1 + both_ways
        parts = list(state) if many else [state]
        ends = []
        for number in range(layers):
            own = [part[number * each : (number + 1) * each] for part in parts]
            its = rounded[number * len(rounded) // layers : (number + 1) * len(rounded) // layers]
            read, *end = operator(self._read(read), own if many else own[0], its, biased, 1, *rest)
            ends.append(end)
        return (read, *(torch.cat(each_end) for each_end in zip(*ends, strict=True)))
