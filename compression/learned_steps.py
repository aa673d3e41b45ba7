"""Learned step sizes: quantization-aware training that moves the ends of its grids too.

After Esser et al. 2020 (arXiv:1902.08153), with an offset for inputs as in Bhalgat et al. 2020 (arXiv:2004.09576).
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import torch
from torch import Tensor, nn

from ..spaces.target import INT8_TOP, top_of
from .layer_forward import own_weight

RATE = 3e-3
"""The peak learning rate of ends, in parts of what they began with, which follows the student's schedule."""
INPUT_STEPS = 255


class LearnedSteps:
    """The ends of the grids of one training: of the weights of each output channel, and of the inputs of 8-bit layers.

    The end of a weight is learned as the logarithm of what it is of the end that it began with, the largest weight.
    Those of inputs are learned as what they moved by, in parts of the range that was seen first: so one that began at 0
    can leave it. Adam trains them, so that the size of a gradient does not matter; rounding lets it through as it is.
    """

    def __init__(self, standing: Collection[str] = ()) -> None:
        """Begin without any ends.

        Args:
            standing: Names of layers whose weights are not trained: nothing is cut off these, so their grids keep the
                ends that they have.
        """
        self._standing = frozenset(standing)
        self._ends: dict[str, _Ends] = {}
        self._earlier: dict[str, Any] = {}

    def weight(self, name: str, weight: Tensor, width: int, weight_top: int = INT8_TOP) -> Tensor:
        """Return a weight [out, in, ...] on the symmetric grid of `width` bits with the learned ends.

        Args:
            name: Of the layer.
            weight: What it computes with.
            width: 8 or 4.
            weight_top: Largest code of 8 bits.
        """
        top = top_of(width, weight_top)
        first = weight.detach().abs().flatten(1).amax(dim=1).clamp_min(1e-12).float()
        # beyond the largest weight there is nothing, and whoever quantizes the file knows no larger end
        end = first if name in self._standing else torch.minimum(self._of(f"{name}.weight", first), first)
        step: Tensor = (end / top).view(-1, *[1] * (weight.ndim - 1))
        return _rounded((weight / step).clamp(-top, top)) * step

    def inputs(self, name: str, inputs: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Return the inputs of a layer on a grid of 8 bits, and its ends [2].

        Args:
            name: Of the layer.
            inputs: Of any shape.
            seen: [2], the range that inputs had so far; it holds 0, and so do learned ends.
        """
        low, high = ends = self._of(f"{name}.range", seen.float(), _Range)
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

    def _of(self, name: str, first: Tensor, kind: type[_Ends] | None = None) -> Tensor:
        if name not in self._ends:
            self._ends[name] = (kind or _Ends)(first, self._earlier.pop(name, None))
        return self._ends[name].now()


class _Ends:
    """Some ends, and what trains them."""

    def __init__(self, first: Tensor, earlier: Any) -> None:
        self._first = first if earlier is None else earlier["first"].to(first)
        self._moved = nn.Parameter(torch.zeros_like(first))
        self.optimizer = torch.optim.Adam([self._moved], lr=RATE)
        if earlier is not None:
            self._moved.data.copy_(earlier["logs"])
            self.optimizer.load_state_dict(earlier["optimizer"])

    def now(self) -> Tensor:
        return self._first * self._moved.exp()

    def state(self) -> dict[str, Any]:
        return {"first": self._first, "logs": self._moved.detach(), "optimizer": self.optimizer.state_dict()}


class _Range(_Ends):
    """Both ends of a range, of which either may begin at 0."""

    def now(self) -> Tensor:
        low, high = self._first
        width = (high - low).clamp_min(1e-8)
        with torch.no_grad():  # held here rather than below: behind a bound no gradient would lead back
            self._moved[0].clamp_(max=float(-low / width))
            self._moved[1].clamp_(min=float(-high / width))
        found: Tensor = self._first + width * self._moved
        return found


def _rounded(numbers: Tensor) -> Tensor:
    """Round to whole numbers; gradients pass straight through."""
    return numbers + (numbers.round() - numbers).detach()
