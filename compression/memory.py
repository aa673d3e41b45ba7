"""What memory a step of training takes, by what it holds: the figure does not depend on an allocator or a device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..spaces.inputs import Inputs, call, count_of


@dataclass(frozen=True)
class StepBytes:
    """What one step of training holds at the end of its forward pass, with the gradients that follow.

    Attributes:
        weights: Parameters and buffers, trained or not, with updates of low rank.
        gradients: Of what is trained.
        optimizer: What the optimizer keeps for each trained weight.
        activations: What the forward pass keeps for the backward pass.
    """

    weights: int = 0
    gradients: int = 0
    optimizer: int = 0
    activations: int = 0

    @property
    def total(self) -> int:
        """All of it."""
        return self.weights + self.gradients + self.optimizer + self.activations


class StepMeter:
    """Notes what the steps that it watches hold.

    Attributes:
        largest: Of the step that held most; None before one was watched.
    """

    def __init__(self) -> None:
        """Begin with nothing watched."""
        self.largest: StepBytes | None = None

    @contextmanager
    def watching(
        self, held: Sequence[Tensor], trained: Sequence[nn.Parameter], optimizer: torch.optim.Optimizer
    ) -> Iterator[None]:
        """Watch one whole step: its forward and backward pass, and what the optimizer does.

        Args:
            held: Weights, buffers and what is kept beside them.
            trained: The parameters among these that are.
            optimizer: Moves them.
        """
        own = {_storage(tensor): _bytes(tensor) for tensor in held}
        kept: dict[int, int] = {}

        def pack(tensor: Tensor) -> Tensor:
            if (place := _storage(tensor)) not in own:
                kept[place] = _bytes(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            yield
        slots = [value for state in optimizer.state.values() for value in state.values() if isinstance(value, Tensor)]
        found = StepBytes(
            weights=sum(own.values()),
            gradients=sum(p.grad.nbytes for p in trained if p.grad is not None),
            optimizer=sum(slot.nbytes for slot in slots),
            activations=sum(kept.values()),
        )
        if self.largest is None or found.total > self.largest.total:
            self.largest = found


def activation_bytes(network: nn.Module, inputs: Inputs) -> int:
    """Return the bytes that a forward pass keeps of one input for the backward pass.

    Args:
        network: In training mode, its weights to be trained.
        inputs: Some inputs, [B, ...] each, on its device.
    """
    own = {_storage(tensor) for tensor in (*network.parameters(), *network.buffers())}
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        if (place := _storage(tensor)) not in own:
            kept[place] = _bytes(tensor)
        return tensor

    with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = call(network, inputs)  # keeps them alive, so that none has the place of another
    del outputs
    return sum(kept.values()) // count_of(inputs)


def _storage(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()  # views of one tensor are held once


def _bytes(tensor: Tensor) -> int:
    return tensor.untyped_storage().nbytes()
