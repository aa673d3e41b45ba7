"""The running statistics of batch norms, estimated anew: shrinking a network shifts what its norms see."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..spaces.inputs import Inputs, call, count_of, in_equal_parts
from .precision import autocast_context, to_training_layout


def norms_of(module: nn.Module) -> tuple[_BatchNorm, ...]:
    """Return the batch norms that have running statistics."""
    return tuple(m for m in module.modules() if isinstance(m, _BatchNorm) and m.running_mean is not None)


@contextlib.contextmanager
def estimating(norms: Sequence[_BatchNorm]) -> Iterator[None]:
    """Let these norms forget their statistics and take the plain mean over the batches that come meanwhile.

    Afterwards they have their momentum back, and the mode (training or evaluation) that they had.
    """
    before = [(norm, norm.momentum, norm.training) for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # torch's cumulative mean: each batch counts the same
    try:
        yield
    finally:
        for norm, momentum, training in before:
            norm.momentum = momentum
            norm.training = training


def reestimate_norms(module: nn.Module, inputs: Inputs, batch: int) -> None:
    """Set the running statistics of all batch norms to their plain means over the batches of `inputs`.

    Everything else runs as in eval mode, and stays as it was (Wu and Johnson 2021, arXiv:2105.07576, section 3). Norms
    without running statistics need none. Fewer than two inputs have no variance, and change nothing.

    Args:
        module: The network, on any device.
        inputs: [M, ...] each.
        batch: Inputs at a time, at least.
    """
    if norms_of(module) and count_of(inputs) >= 2:
        reestimate_norms_over(module, in_equal_parts(inputs, max(1, count_of(inputs) // batch)))


@torch.no_grad()
def reestimate_norms_over(module: nn.Module, batches: Iterable[Inputs]) -> None:
    """Set the running statistics of all batch norms to their plain means over these batches.

    Everything else runs as in eval mode, and stays as it was. Batches of fewer than two inputs have no variance, and
    are left out; without any other, norms stay as they were.

    Args:
        module: The network, on any device.
        batches: [B, ...] of each input.
    """
    norms = norms_of(module)
    usable = (part for part in batches if count_of(part) >= 2) if norms else iter(())
    first = next(usable, None)
    if first is None:
        return
    device = next(module.parameters()).device
    before = [(m, m.training) for m in module.modules()]
    module.eval()
    try:
        with estimating(norms):
            for part in chain((first,), usable):
                with autocast_context(device):
                    call(module, to_training_layout(part, device))
    finally:
        for each, training in before:
            each.training = training
