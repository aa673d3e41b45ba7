"""Masks: which weights of a layer a sparsity pattern keeps."""

from __future__ import annotations

import torch
from torch import Tensor

from ..spaces.spec import BLOCK, Pattern


def mask_of(weight: Tensor, pattern: Pattern) -> Tensor:
    """Return the mask that keeps the largest magnitudes of a weight.

    "2:4" keeps two of every four consecutive inputs at each output and kernel position, as sparse tensor cores
    want it (Mishra et al. 2021, arXiv:2104.08378, section 3). Inputs beyond the last full four stay dense.

    "block:4x1" drops whole blocks of four consecutive outputs at one input and kernel position, those of the smallest
    sums of magnitudes. Outputs beyond the last full four stay dense.

    Args:
        weight: [out, in, ...].
        pattern: Which zeros it gets.

    Returns:
        A tensor of the weight's shape and dtype; 1 keeps, 0 drops.
    """
    if pattern.kind == "unstructured":
        return _without_smallest(weight.abs(), pattern.rate)
    if pattern.kind == BLOCK:
        return _blocks(weight, pattern.rate)
    return _two_of_four(weight)


def _without_smallest(size: Tensor, rate: float) -> Tensor:
    mask = torch.ones(size.shape, dtype=size.dtype, device=size.device)
    drop = int(rate * size.numel())
    if drop:
        mask.view(-1)[size.flatten().argsort()[:drop]] = 0
    return mask


def _blocks(weight: Tensor, rate: float) -> Tensor:
    fours = weight.shape[0] // 4 * 4
    mask = torch.ones(weight.shape, dtype=weight.dtype, device=weight.device)
    if fours:
        size = weight[:fours].abs().reshape(fours // 4, 4, *weight.shape[1:]).sum(1)
        mask[:fours] = _without_smallest(size, rate).repeat_interleave(4, dim=0)
    return mask


def _two_of_four(weight: Tensor) -> Tensor:
    mask = torch.ones(weight.shape, dtype=weight.dtype, device=weight.device)
    fours = weight.shape[1] // 4 * 4
    if fours:
        last = weight.abs()[:, :fours].movedim(1, -1)
        blocks = last.reshape(*last.shape[:-1], fours // 4, 4)
        keep = torch.zeros_like(blocks).scatter_(-1, blocks.topk(2, dim=-1).indices, 1.0)
        mask[:, :fours] = keep.reshape(last.shape).movedim(-1, 1)
    return mask
