"""Which of torch's ways of computing attention a training step takes."""

from __future__ import annotations

import contextlib
from typing import Any

import torch
from torch import fx, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..spaces.inputs import Inputs, tensors_of
from .precision import training_dtype
from .spelled_attention import ATTENTION

SHORT = 128
"""Sequences up to this length are faster in plain products: the backward pass of the fused kernel in bfloat16 took 3.4
times as long at a length of 65 on a Xeon with AMX, and 0.7 times as long at 197."""


def attention_context(device: torch.device, length: int) -> contextlib.AbstractContextManager[Any]:
    """Return what lets attention over short sequences be computed in plain products, on a CPU in bfloat16.

    Args:
        device: Where the step runs.
        length: Of the longest sequence that queries come from; 0 where the network has no attention.
    """
    plain = device.type == "cpu" and 0 < length <= SHORT and training_dtype(device) == torch.bfloat16
    return sdpa_kernel(SDPBackend.MATH) if plain else contextlib.nullcontext()


def longest_sequence(module: nn.Module, inputs: Inputs) -> int:
    """Return the length of the longest sequence that attention in a network has queries from; 0 without any.

    Args:
        module: The network, which is run in eval mode; 0 where it is no graph.
        inputs: [1, ...] of each.
    """
    if not isinstance(module, fx.GraphModule):
        return 0
    looked = _Lengths(module)
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            looked.run(*tensors_of(inputs))
    finally:
        module.train(training)
    return looked.longest


class _Lengths(fx.Interpreter):
    longest = 0

    def call_function(self, target: Any, args: Any, kwargs: Any) -> Any:
        if getattr(target, "_opname", "") == ATTENTION:
            self.longest = max(self.longest, args[0].shape[-2])
        return super().call_function(target, args, kwargs)
