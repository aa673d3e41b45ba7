"""A specification made real: the student, a smaller copy of the teacher that starts from the teacher's weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from ..spaces.spec import Pattern, StudentSpec
from .edits import Parent, edited


@dataclass(frozen=True)
class Student:
    """A smaller network that starts from the teacher's weights, or from new ones where its recovery says so.

    Attributes:
        module: The network.
        masks: Layer name -> what holds its pattern, in the shape of its weight; 1 keeps, 0 drops.
        stayed_inputs: Name of a layer that lost inputs -> the teacher's input indices that stayed.
    """

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


def make_student(parent: Parent, spec: StudentSpec) -> Student:
    """Edit a copy of `parent` as `spec` says, then zero weights. Nothing is trained.

    A network with new weights keeps the patterns of the trained ones.

    Args:
        parent: The trained network.
        spec: What becomes of it.

    Raises:
        TrialFailed: A replacement is no class of `torch.nn` that takes no arguments, or there is no such block.
    """
    module, stayed = edited(parent, spec)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    masks = {}
    for name, pattern in spec.patterns.items():
        weight = module.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        masks[name] = mask_of(weight.detach(), pattern)
    if spec.recovery is not None and spec.recovery.fresh:
        renew(module)
    student = Student(module, masks, stayed)
    student.hold_masks()
    return student


def renew(module: nn.Module, seed: int = 0) -> None:
    """Give a network new random weights, in place.

    Modules draw them in their own way. Parameters of modules that have none, such as those of a user's own, are drawn
    with the mean and deviation that they had.

    Args:
        module: The network.
        seed: Of the random numbers.
    """
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        for part in module.modules():
            reset = getattr(part, "reset_parameters", None)
            if callable(reset):
                reset()
                continue
            for parameter in part.parameters(recurse=False):
                if parameter.is_floating_point() and parameter.numel() > 1:
                    parameter.normal_(float(parameter.mean()), float(parameter.std()))


def mask_of(weight: torch.Tensor, pattern: Pattern) -> torch.Tensor:
    """Return the mask that keeps the largest magnitudes of a weight.

    "2:4" keeps two of every four consecutive inputs at each output and kernel position, as sparse tensor cores
    want it (Mishra et al. 2021, arXiv:2104.08378, section 3). Inputs beyond the last full four stay dense.

    Args:
        weight: [out, in, ...].
        pattern: Which zeros it gets.

    Returns:
        A tensor of the weight's shape and dtype; 1 keeps, 0 drops.
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
