"""A walk over a captured network that finds what must shrink together.

Every value carries labels: for each of its elements, the atom that it goes with. Operators that only move elements move
the labels in the same way, whatever numbers stand in the network's code; operators that compute join them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, fx, nn

from ..inputs import Inputs, tensors_of
from .atoms import Atoms
from .labels import Factors, along, classes, fixed, parts_of, squashed, tight, united
from .members import Even, Resize, Slice

Rule = Callable[["Walk", fx.Node, Any], Any]


@dataclass
class Walk:
    """The state of one walk, and what it has found.

    Attributes:
        graph: The captured network, in eval mode.
        atoms: All atoms.
        slices: What of each parameter goes with which atoms.
        resizes: Numbers in operators that follow.
        evens: Channels that must stay equally many in each block.
        straight: Labels that must stay a grid, with the name of the node.
        numbered: Labels of which one index is taken, with the dimension: it must carry no channels in the end.
        bare: Labels of parameters that operators use, by their names.
        pure: Nodes that follow from parameters alone.
        sides: Which side of a layer a dimension of such a parameter is, where an operator uses it as a weight.
        labels: Of the nodes that are still needed.
        values: Of the nodes that are still needed, for the example.
    """

    graph: fx.GraphModule
    atoms: Atoms = field(default_factory=Atoms)
    slices: list[Slice] = field(default_factory=list)
    resizes: list[Resize] = field(default_factory=list)
    evens: list[Even] = field(default_factory=list)
    straight: list[tuple[str, Tensor]] = field(default_factory=list)
    numbered: list[tuple[Tensor, int]] = field(default_factory=list)
    bare: dict[str, Tensor | Factors] = field(default_factory=dict)
    pure: set[fx.Node] = field(default_factory=set)
    sides: dict[tuple[str, int], str] = field(default_factory=dict)
    labels: dict[fx.Node, Any] = field(default_factory=dict)
    values: dict[fx.Node, Any] = field(default_factory=dict)

    @torch.no_grad()
    def run(self, example_input: Inputs, rule_for: Callable[[Walk, fx.Node], Rule]) -> None:
        """Walk from the inputs to the outputs.

        Args:
            example_input: [1, ...], of each input.
            rule_for: Gives the rule of each node.
        """
        given = iter(tensors_of(example_input))
        last_use = {arg: node for node in self.graph.graph.nodes for arg in node.all_input_nodes}
        over: dict[fx.Node, list[fx.Node]] = {}
        for arg, node in last_use.items():
            over.setdefault(node, []).append(arg)
        for node in self.graph.graph.nodes:
            if node.op == "placeholder":
                value: Any = next(given)
                found: Any = fixed(value.shape)
            elif node.op == "get_attr":
                value = self.attribute(str(node.target))
                found = self._labels_of_attribute(str(node.target), value)
            elif node.op == "output":
                for source in node.all_input_nodes:
                    self.pin(self.labels[source], "it would change the output shape")
                break
            else:
                value = self._computed(node)
                found = rule_for(self, node)(self, node, value)
            self.values[node], self.labels[node] = value, tight(found)
            if node.op == "get_attr" or (node.all_input_nodes and self.pure.issuperset(node.all_input_nodes)):
                self.pure.add(node)
            for arg in over.get(node, ()):
                del self.values[arg], self.labels[arg]

    def pin(self, labels: Any, why: str) -> None:
        """Let everything in these labels stay, with the reason."""
        if isinstance(labels, Tensor | Factors):
            for part in parts_of(labels):
                self.atoms.pin(squashed(part)[0].numpy(), why)
        elif isinstance(labels, list | tuple):
            for part in labels:
                self.pin(part, why)

    def largest(self, labels: Tensor | Factors) -> Tensor:
        """Return the one label tensor with the most classes; what only the others remove has to stay."""
        parts = sorted(parts_of(labels), key=lambda part: classes(self.atoms, part))
        self.pin(parts[:-1], "it meets an operator that channels go through in one dimension alone")
        return parts[-1]

    def fresh(self, count: int) -> Tensor:
        """Return so many new atoms."""
        return torch.from_numpy(self.atoms.fresh(count))

    def module(self, node: fx.Node) -> nn.Module:
        """Return the module that a node calls."""
        return self.graph.get_submodule(str(node.target))

    def of(self, argument: Any) -> Any:
        """Return the labels of an argument, with lists of nodes as lists; what is no node has None."""
        if isinstance(argument, fx.Node):
            return self.labels[argument]
        if isinstance(argument, list | tuple):
            return [self.of(part) for part in argument]
        return None

    def value(self, argument: Any) -> Any:
        """Return an argument's value."""
        return fx.map_arg(argument, lambda n: self.values[n])

    def _computed(self, node: fx.Node) -> Any:
        args, kwargs = self.value(node.args), self.value(node.kwargs)
        if node.op == "call_module":
            return self.module(node)(*args, **kwargs)
        return node.target(*args, **kwargs)  # type: ignore[operator]

    def attribute(self, name: str) -> Any:
        """Return a parameter or buffer of the network, or another attribute of it."""
        owner, _, leaf = name.rpartition(".")
        return getattr(self.graph.get_submodule(owner), leaf)

    def _labels_of_attribute(self, name: str, value: Any) -> Any:
        if not isinstance(value, Tensor):
            return None
        if not value.is_floating_point():
            return fixed(value.shape)
        if name not in self.bare:
            dims = [dim for dim, size in enumerate(value.shape) if size > 1]
            own = {dim: self.fresh(value.shape[dim]) for dim in dims}
            self.slices += [Slice(name, dim, atoms, "both") for dim, atoms in own.items()]
            parts = [along(atoms, dim, value.shape) for dim, atoms in own.items()]
            self.bare[name] = united(self.atoms, parts, value.shape)
        return self.bare[name]
