"""Adapters: small bottlenecks within the branches of a network, trained while its own weights stand still.

After Houlsby et al. 2019 (arXiv:1902.00751, section 2.1). They stay in the network, and in its files.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, fx, nn

from ..spaces.graph.block import Block
from ..spaces.layers import first_names
from .seeds import seeded_generator

PREFIX = "added_adapter_"
"""What the names of adapters begin with; a number follows."""
CONVOLUTIONS: tuple[type[nn.Module], ...] = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
PASSED = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.Dropout, nn.Identity)
"""What a branch may have behind its last layer: an adapter goes behind it, so that norms can be folded as ever."""


class Adapter(nn.Module):
    """Returns `x + up(relu(down(x)))`, which is `x` before any training.

    Attributes:
        down: From the width of the branch to the bottleneck, at each position.
        up: Back; it begins at zero.
    """

    def __init__(self, behind: nn.Module, bottleneck: int, name: str) -> None:
        """Make the adapter of a branch.

        Args:
            behind: The last layer of the branch, a linear layer or a convolution.
            bottleneck: Channels between `down` and `up`.
            name: The weights follow from it.
        """
        super().__init__()
        weight = behind.weight
        assert isinstance(weight, Tensor)
        width = len(weight)
        if isinstance(behind, nn.Linear):
            self.down: nn.Module = nn.Linear(width, bottleneck)
            self.up: nn.Module = nn.Linear(bottleneck, width)
        else:
            kind = next(each for each in CONVOLUTIONS if isinstance(behind, each))
            self.down, self.up = kind(width, bottleneck, 1), kind(bottleneck, width, 1)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.zero_()
            first = self.down.weight
            assert isinstance(first, Tensor)
            drawn = torch.rand(first.shape, generator=seeded_generator("adapter", bottleneck, name))
            first.copy_((2 * drawn - 1) / math.sqrt(width))
        self.to(weight)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the inputs with what the bottleneck makes of them, in the same shape."""
        found: Tensor = inputs + self.up(torch.relu(self.down(inputs)))
        return found


def add_adapters(network: fx.GraphModule, blocks: Mapping[int, Block], bottleneck: int) -> None:
    """Put an adapter at the end of the branch of each block, in place.

    Args:
        network: The captured network that the blocks were found in, or what is left of it.
        blocks: Those that it still has, in order of execution, by their numbers in the whole network: so an adapter is
            called alike whatever was dropped.
        bottleneck: Channels of each.
    """
    names = first_names(network)
    calls = {names[str(node.target)]: node for node in network.graph.nodes if node.op == "call_module"}
    for number, block in blocks.items():
        layer = next(name for name in reversed(block.layers) if name in calls)
        behind, name = network.get_submodule(layer), f"{PREFIX}{number}"
        behind = behind[-1] if isinstance(behind, nn.Sequential) else behind  # the second of two factors
        made = Adapter(behind, bottleneck, f"{block.name} {layer}").train(network.training)
        network.add_submodule(name, made)
        end = _end_of_branch(network, calls[layer])
        readers = list(end.users)
        with network.graph.inserting_after(end):
            added = network.graph.call_module(name, (end,))
        for reader in readers:
            reader.replace_input_with(end, added)
    network.graph.lint()
    network.recompile()


def _end_of_branch(network: fx.GraphModule, node: fx.Node) -> fx.Node:
    """Return the last of the operators behind a layer that keep its channels and that nothing else looks into."""
    while len(node.users) == 1:
        (user,) = node.users
        if user.op != "call_module" or not isinstance(network.get_submodule(str(user.target)), PASSED):
            break
        node = user
    return node
