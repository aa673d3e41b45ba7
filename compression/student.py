"""A specification made real: the student, a smaller copy of the teacher that starts from the teacher's weights."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import nn

from ..spaces.spec import StudentSpec
from .edits import Parent, edited
from .graph_norms import norms_as_modules
from .masks import mask_of


@dataclass(frozen=True)
class Student:
    """A smaller network that starts from the teacher's weights, or from new or early ones where its recovery says so.

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
    def hold_masks(self, but: Container[str] = ()) -> None:
        """Set masked weights back to zero (after an optimizer's step).

        Args:
            but: Names of layers that are left alone.
        """
        for name, mask in self.masks.items():
            if name in but:
                continue
            weight = self.module.get_submodule(name).weight
            assert isinstance(weight, torch.Tensor)
            weight.mul_(mask.to(weight.device))


def make_student(parent: Parent, spec: StudentSpec) -> Student:
    """Edit a copy of `parent` as `spec` says, then zero weights. Nothing is trained.

    A network with new or early weights keeps the channels and patterns of the trained ones.

    Args:
        parent: The trained network.
        spec: What becomes of it.

    Raises:
        TrialFailed: A replacement is no class of `torch.nn` that takes no arguments, there is no such block, or early
            weights are not known.
    """
    module, stayed = edited(parent, spec)
    module = norms_as_modules(module)
    for parameter in module.parameters():
        parameter.requires_grad_(can_learn(parameter))
    masks = {}
    for name, pattern in spec.realised(spec.patterns).items():
        weight = module.get_submodule(name).weight
        assert isinstance(weight, torch.Tensor)
        masks[name] = mask_of(weight.detach(), pattern)
    if spec.recovery is not None and spec.recovery.fresh:
        renew(module)
    elif spec.recovery is not None and spec.recovery.early:
        module.load_state_dict(edited(parent.named(spec.student).as_early(), replace(spec, student=""))[0].state_dict())
    student = Student(module, masks, stayed)
    student.hold_masks()
    return student


def can_learn(parameter: nn.Parameter) -> bool:
    """Tell whether a parameter has a gradient: some networks keep whole numbers, such as indices, as parameters."""
    return parameter.is_floating_point() or parameter.is_complex()


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
