"""How many inputs a network looks at together, so that what it computes of them has room in memory."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from ..spaces.inputs import Inputs, call, mapped, rows_of

NUMBERS = 2**28
"""Numbers of the largest value in a pass, 1 GiB of them; a few such values are there at a time."""


@torch.no_grad()
def inputs_at_once(network: nn.Module, inputs: Inputs, most: int) -> int:
    """Return how many inputs a network in eval mode is given at a time: fewer than `most` where images are large.

    Args:
        network: The network.
        inputs: Some inputs, [B, ...] each, on its device. It looks at the first.
        most: Inputs at a time of a network whose values are small.
    """
    seen = _Sizes()
    with seen:
        call(network, mapped(torch.clone, rows_of(inputs, slice(0, 1))))
    return max(1, min(most, NUMBERS // max(1, seen.largest)))


class _Sizes(TorchDispatchMode):
    """Watches all that is computed meanwhile.

    Attributes:
        largest: Numbers of the largest tensor.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.largest: int = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        parts: list[Any] = tree_leaves(found)
        self.largest = max([self.largest, *(part.numel() for part in parts if isinstance(part, Tensor))])
        return found
