"""Learned step sizes: quantization-aware training that moves the ends of its grids too.

After Esser et al. 2020 (arXiv:1902.08153), with an offset for inputs as in Bhalgat et al. 2020 (arXiv:2004.09576).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from .layer_forward import own_weight

RATE = 3e-3
"""The peak learning rate of the logarithms of ends, which follows the student's schedule."""
INPUT_STEPS = 255


class LearnedSteps:
    """The ends of the grids of one training: of the weights of each output channel, and of the inputs of 8-bit layers.

    An end is learned as the logarithm of what it is of the end that it began with: the largest weight, or the range
    that was seen. Adam trains them, so that the size of a gradient does not matter; rounding lets it through as it is.
    """

    def __init__(self) -> None:
        self._ends: dict[str, _Ends] = {}
        self._earlier: dict[str, Any] = {}

    def weight(self, name: str, weight: Tensor, width: int) -> Tensor:
        """Return a weight [out, in, ...] on the symmetric grid of `width` bits with the learned ends.

        Args:
            name: Of the layer.
            weight: What it computes with.
            width: 8 or 4.
        """
        top = 2 ** (width - 1) - 1
        first = weight.detach().abs().flatten(1).amax(dim=1).clamp_min(1e-12).float()
        # beyond the largest weight there is nothing, and whoever quantizes the file knows no larger end
        end = torch.minimum(self._of(f"{name}.weight", first), first)
        step: Tensor = (end / top).view(-1, *[1] * (weight.ndim - 1))
        return _rounded((weight / step).clamp(-top, top)) * step

    def inputs(self, name: str, inputs: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of a layer on a grid of 8 bits, and its ends [2].

        Args:
            name: Of the layer.
            inputs: Of any shape.
            seen: [2], the range that inputs had so far; it holds 0.
        """
        low, high = ends = self._of(f"{name}.inputs", seen.float())
        step = ((high - low) / INPUT_STEPS).clamp_min(1e-8)
        zero = _rounded(-low / step)  # a whole number, so that 0 stays 0
        codes = _rounded((inputs.float() / step + zero).clamp(0, INPUT_STEPS))
        return ((codes - zero) * step).to(inputs.dtype), ends.detach()

    def optimizers(self, factor: float) -> tuple[torch.optim.Optimizer, ...]:
        """Return what trains the ends.

        Args:
            factor: Of the peak learning rate.
        """
        for each in self._ends.values():
            each.optimizer.param_groups[0]["lr"] = RATE * factor
        return tuple(each.optimizer for each in self._ends.values())

    @torch.no_grad()
    def cut(self, module: nn.Module) -> None:
        """Cut weights at their ends: the largest weight of a channel is then the end of its grid, for whoever looks."""
        for name, each in self._ends.items():
            layer_name, _, what = name.rpartition(".")
            if what == "weight":
                weight = own_weight(layer_name, module.get_submodule(layer_name))
                end = each.now().to(weight).view(-1, *[1] * (weight.ndim - 1))
                weight.copy_(torch.minimum(torch.maximum(weight, -end), end))

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds of the ends; empty where there are none."""
        return self._earlier | {name: each.state() for name, each in self._ends.items()}

    def load(self, state: dict[str, Any]) -> None:
        """Go on with the ends of a checkpoint."""
        self._earlier = dict(state)

    def _of(self, name: str, first: Tensor) -> Tensor:
        if name not in self._ends:
            self._ends[name] = _Ends(first, self._earlier.pop(name, None))
        return self._ends[name].now()


class _Ends:
    """Some ends, and what trains them."""

    def __init__(self, first: Tensor, earlier: Any) -> None:
        self._first = first if earlier is None else earlier["first"].to(first)
        self._logs = nn.Parameter(torch.zeros_like(first))
        self.optimizer = torch.optim.Adam([self._logs], lr=RATE)
        if earlier is not None:
            self._logs.data.copy_(earlier["logs"])
            self.optimizer.load_state_dict(earlier["optimizer"])

    def now(self) -> Tensor:
        return self._first * self._logs.exp()

    def state(self) -> dict[str, Any]:
        return {"first": self._first, "logs": self._logs.detach(), "optimizer": self.optimizer.state_dict()}


def _rounded(numbers: Tensor) -> Tensor:
    """Round to whole numbers; gradients pass straight through."""
    return numbers + (numbers.round() - numbers).detach()
