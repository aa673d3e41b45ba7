"""Inputs of a network: one tensor, or several that share their first dimension."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Inputs = Tensor | tuple[Tensor, ...]
"""[B, ...], or a tuple of such tensors for a network that takes several."""


def tensors_of(inputs: Inputs) -> tuple[Tensor, ...]:
    """Return the tensors of a batch, in the order in which the network takes them."""
    return (inputs,) if isinstance(inputs, Tensor) else inputs


def mapped(function: Callable[[Tensor], Tensor], inputs: Inputs) -> Inputs:
    """Return what a function makes of each tensor."""
    return function(inputs) if isinstance(inputs, Tensor) else tuple(function(part) for part in inputs)


def count_of(inputs: Inputs) -> int:
    """Return the number of examples in a batch."""
    return len(tensors_of(inputs)[0])


def rows_of(inputs: Inputs, which: Any) -> Inputs:
    """Return these examples, by whatever indexes the first dimension of a tensor."""
    return mapped(lambda part: part[which], inputs)


def joined(batches: Sequence[Inputs]) -> Inputs:
    """Return batches as one. They must be of one form, and there must be at least one."""
    if isinstance(batches[0], Tensor):
        return torch.cat([tensors_of(batch)[0] for batch in batches])
    return tuple(torch.cat(same) for same in zip(*(tensors_of(batch) for batch in batches), strict=True))


def divided(inputs: Inputs, size: int) -> list[Inputs]:
    """Return a batch in parts of `size` examples; the last may hold fewer."""
    return [rows_of(inputs, slice(i, i + size)) for i in range(0, count_of(inputs), size)]


def in_equal_parts(inputs: Inputs, parts: int) -> list[Inputs]:
    """Return a batch in so many parts, whose sizes differ by one example at most; the larger ones come first."""
    split = [part.tensor_split(parts) for part in tensors_of(inputs)]
    return list(split[0]) if isinstance(inputs, Tensor) else list(zip(*split, strict=True))


def call(module: nn.Module, inputs: Inputs) -> Any:
    """Return what a captured network gives for a batch."""
    return module(*tensors_of(inputs))


def shapes_of(inputs: Inputs) -> list[list[int]]:
    """Return the shape of each tensor without the first dimension."""
    return [list(part.shape[1:]) for part in tensors_of(inputs)]
