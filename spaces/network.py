"""A network as a search sees it: its layers, its groups of channels, and what cannot be shrunk."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import UsageError
from .graph.block import Block
from .graph.blocks import find_blocks
from .graph.operator_rules import name_of
from .graph.resized import Resizing
from .groups import Group, LeftOut, find_groups
from .inputs import Inputs
from .layers import Layer, LeafModule, find_layers, find_leaf_modules
from .recurrent import find_recurrent
from .tables import find_tables


@dataclass(frozen=True)
class Network:
    """What was found in one network.

    Attributes:
        layers: Its layers, in order of execution.
        groups: Its groups of channels that can be removed.
        modules: Its modules without submodules or parameters, in order of execution.
        left_out: The groups that cannot shrink, with the reasons.
        norms_layers: Whether it is normalised by layers, as transformers are, and nowhere by batches.
        blocks: Its blocks that can be dropped, in order of execution.
        resizings: The sizes of inputs that it can look at besides the full one, where they were asked for.
        no_sizes: Those that it cannot look at, with the reasons.
        students: Networks of the user's own that stand beside a teacher, by name.
        tables: Its embeddings whose bits can be chosen, in order of execution.
        no_tables: Those that stay as they are, with the reasons.
        recurrent: Its recurrent layers whose bits can be chosen, in order of execution.
        no_recurrent: Those that stay as they are, with the reasons.
    """

    layers: tuple[Layer, ...]
    groups: tuple[Group, ...]
    modules: tuple[LeafModule, ...]
    left_out: tuple[LeftOut, ...]
    norms_layers: bool = False
    blocks: tuple[Block, ...] = ()
    resizings: tuple[Resizing, ...] = ()
    no_sizes: tuple[LeftOut, ...] = ()
    tables: tuple[Layer, ...] = ()
    no_tables: tuple[LeftOut, ...] = ()
    recurrent: tuple[Layer, ...] = ()
    no_recurrent: tuple[LeftOut, ...] = ()
    students: Mapping[str, Network] = field(default_factory=dict)

    @property
    def all_layers(self) -> tuple[Layer, ...]:
        """The layers of the network and of all students beside it."""
        return (*self.layers, *(layer for student in self.students.values() for layer in student.layers))

    @property
    def all_left_out(self) -> tuple[LeftOut, ...]:
        """The groups that cannot shrink, of the network and of all students beside it."""
        return (*self.left_out, *(entry for student in self.students.values() for entry in student.left_out))


def look_at_network(model: nn.Module, example_input: Inputs) -> Network:
    """Find the layers and groups of a network.

    Args:
        model: The network, in eval mode on the CPU. It is not changed.
        example_input: [1, ...], of each input.

    Raises:
        UsageError: The network has nothing to compress.
    """
    layers = find_layers(model, example_input)
    if not layers:
        raise UsageError("the network runs no convolution and no linear layer: there is nothing to compress in it")
    depths = {layer.name: layer.depth for layer in layers}
    groups, left_out = find_groups(model, example_input, depths)
    blocks = find_blocks(model, example_input, depths) if isinstance(model, fx.GraphModule) else ()
    modules = find_leaf_modules(model, example_input)
    tables, no_tables = find_tables(model, example_input)
    recurrent, no_recurrent = find_recurrent(model, example_input)
    return Network(
        layers,
        groups,
        modules,
        left_out,
        _norms_layers(model),
        blocks,
        tables=tables,
        no_tables=no_tables,
        recurrent=recurrent,
        no_recurrent=no_recurrent,
    )


def _norms_layers(model: nn.Module) -> bool:
    """Look at the modules, and at the operators that modules of other packages were captured as.

    Norms that a package computes by hand divide by a root mean square.
    """
    parts = tuple(model.modules())
    by_batch = any(isinstance(part, _BatchNorm) for part in parts)
    by_layer = any(isinstance(part, nn.LayerNorm | nn.RMSNorm) for part in parts)
    if isinstance(model, fx.GraphModule):
        names = {name_of(node) for node in model.graph.nodes if node.op == "call_function"}
        by_batch = by_batch or any("batch_norm" in name for name in names)
        by_layer = by_layer or bool(names & {"layer_norm", "rms_norm", "rsqrt"})
    return by_layer and not by_batch
