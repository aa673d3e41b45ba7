"""A plan made real: the student, a smaller copy of the teacher that starts from the teacher's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..spaces.groups import Group, remove_channels
from ..spaces.plan import Pattern, Plan


@dataclass(frozen=True)
class Student:
    """The module, the masks that hold its patterns (layer name -> [shape of the weight], 1 keeps), and for each
    layer that lost inputs the teacher's input indices that stayed."""

    module: nn.Module
    masks: Mapping[str, torch.Tensor]
    stayed_inputs: Mapping[str, Sequence[int]]

    @torch.no_grad()
    def hold_masks(self) -> None:
        """Set every masked weight back to zero (after an optimizer's step)."""
        for name, mask in self.masks.items():
            weight = self.module.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.mul_(mask.to(weight.device))


def make_student(teacher: nn.Module, groups: Sequence[Group], plan: Plan) -> Student:
    """Shrink a copy of `teacher` to the plan's channels and zero what its patterns say; no training."""
    module = copy.deepcopy(teacher)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    with torch.no_grad():
        stayed = remove_channels(module, groups, plan.channels)
    masks = {}
    for name, pattern in plan.patterns.items():
        weight = module.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        masks[name] = mask_of(weight.detach(), pattern)
    student = Student(module, masks, stayed)
    student.hold_masks()
    return student


def mask_of(weight: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """The mask (1 keeps, 0 drops, shape and dtype of `weight` [out, in, ...]) that keeps the largest magnitudes.

    "2:4" keeps two of every four consecutive inputs at each output and kernel position, as sparse tensor cores
    want it (Mishra et al. 2021, arXiv:2104.08378, section 3); inputs beyond the last full four stay dense.
    """
    size = weight.abs()
    mask = torch.ones(weight.shape, dtype=weight.dtype, device=weight.device)
    if pattern.kind == "unstructured":
        drop = int(pattern.rate * weight.numel())
        if drop:
            mask.view(-1)[size.flatten().argsort()[:drop]] = 0
        return mask
    fours = weight.shape[1] // 4 * 4
    if fours:
        last = size[:, :fours].movedim(1, -1)
        blocks = last.reshape(*last.shape[:-1], fours // 4, 4)
        keep = torch.zeros_like(blocks).scatter_(-1, blocks.topk(2, dim=-1).indices, 1.0)
        mask[:, :fours] = keep.reshape(last.shape).movedim(-1, 1)
    return mask
