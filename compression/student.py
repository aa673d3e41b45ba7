"""A specification made real: the student, a smaller copy of the teacher that starts from the teacher's weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import nn

from ..errors import TrialFailed
from ..spaces.groups import Group, remove_channels
from ..spaces.spec import Pattern, StudentSpec


@dataclass(frozen=True)
class Student:
    """A smaller network that starts from the teacher's weights, or from new ones where its recovery says so.

    Attributes:
        module: The network.
        masks: Layer name -> what holds its pattern, in the shape of its weight; 1 keeps, 0 drops.
        stayed_inputs: Name of a layer that lost inputs -> the teacher's input indices that stayed.
        trained_ranges: Name of a layer -> the least and the largest input, as quantization-aware training learned them.
    """

    module: nn.Module
    masks: Mapping[str, torch.Tensor]
    stayed_inputs: Mapping[str, Sequence[int]]
    trained_ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)

    @torch.no_grad()
    def hold_masks(self) -> None:
        """Set every masked weight back to zero (after an optimizer's step)."""
        for name, mask in self.masks.items():
            weight = self.module.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.mul_(mask.to(weight.device))


def make_student(teacher: nn.Module, groups: Sequence[Group], spec: StudentSpec) -> Student:
    """Edit a copy of `teacher` as `spec` says: replace modules, remove channels, zero weights. Nothing is trained.

    Args:
        teacher: The trained network.
        groups: Its groups of channels.
        spec: What becomes of it.

    Raises:
        TrialFailed: A replacement is no class of `torch.nn` that takes no arguments.
    """
    module = replaced(teacher, spec.replacements)
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    with torch.no_grad():
        stayed = remove_channels(module, groups, spec.channels)
    if spec.recovery is not None and spec.recovery.fresh:
        renew(module)
    masks = {}
    for name, pattern in spec.patterns.items():
        weight = module.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        masks[name] = mask_of(weight.detach(), pattern)
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


def replaced(teacher: nn.Module, replacements: Mapping[str, str]) -> nn.Module:
    """Return a copy of `teacher` with other modules in it.

    Args:
        teacher: The network.
        replacements: Module name -> class of `torch.nn` that takes no arguments.

    Raises:
        TrialFailed: There is no such class, or it needs arguments.
    """
    module = copy.deepcopy(teacher)
    for name, kind in replacements.items():
        cls = getattr(nn, kind, None)
        if not (isinstance(cls, type) and issubclass(cls, nn.Module)):
            raise TrialFailed(f"module {name} cannot be replaced: torch.nn has no class {kind!r}")
        if any(True for _ in module.get_submodule(name).parameters()):
            raise TrialFailed(f"module {name} cannot be replaced: it holds weights")
        try:
            module.set_submodule(name, cls().train(teacher.training))
        except TypeError as error:
            raise TrialFailed(f"module {name} cannot be replaced: torch.nn.{kind} needs arguments") from error
    return module


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
