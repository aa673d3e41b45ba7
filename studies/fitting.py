"""Whether the parts of a task fit together: labels, shapes, and what a user gives by hand."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..compression.losses import Divergence, Losses, squared_distance
from ..errors import DataError
from ..spaces.graph.interface import Interface
from ..spaces.inputs import Inputs, shapes_of, tensors_of
from .data.images import check_labels
from .data.reading import as_input, described, dtype_of
from .data.streams import StreamedData
from .data.tensors import MemoryData
from .kinds import Kind, kinds_that_fit

LABELS = 1024
"""Labels of a stream that are looked at."""
STEP, COARSE = 2**-8, 0.05
"""A step of bfloat16, in parts of a number; and what it may be in parts of the deviation of outputs."""
LossFunction = Callable[[Tensor, Tensor], Tensor]
"""Outputs [B, ...] and labels [B, ...] to the mean loss of the batch."""


def some_labels(train: MemoryData | StreamedData) -> Tensor:
    """Return labels of training data: all where they are in memory, else those of a few batches."""
    if not isinstance(train, StreamedData):
        return train.labels
    plan = train.epoch_plan(0, 256, 0)
    found: list[Tensor] = []
    while len(found) < plan.steps and sum(len(labels) for labels in found) < LABELS:
        found.append(plan.batch(len(found))[1])
    return torch.cat(found)


def advice_on_labels(name: str, kind: Kind, outputs: Tensor, labels: Tensor) -> str:
    """Return what to do where outputs [B, ...] and labels [B, ...] do not fit a kind of task.

    Args:
        name: Of the kind.
        kind: The kind.
        outputs: Of the teacher for a few inputs.
        labels: Of the same inputs.
    """
    whole = labels.is_floating_point() and bool((labels == labels.round()).all())
    ways = {".long()": labels.long()} if whole else {}
    if labels.ndim > 1 and labels.shape[1] == 1:
        ways |= {".squeeze(1)": labels.squeeze(1)} | {f".squeeze(1){way}": y.squeeze(1) for way, y in ways.items()}
    if bool((labels.abs() == 1).all()):
        ways[".clamp_min(0)"] = labels.clamp_min(0)  # -1 says no
    if labels.ndim > 2:
        ways[".movedim(-1, 1)"] = labels.movedim(-1, 1)  # channels that lie last
    if not labels.is_floating_point():
        ways[".float()"] = labels.float()  # one-hot
    for way, changed in ways.items():
        if kind.fits(outputs, changed):
            return f"give labels{way}"
    others = [other for other in kinds_that_fit(outputs, labels) if other != name]
    if others:
        return f"say Task(..., {' or '.join(f'kind={other!r}' for other in others)}), if it is that"
    return "wrap the teacher, or give a loss and a metric with kind=None"


def label_check(kind: Kind | None, outputs: Tensor, classes: int | None) -> Callable[[Tensor, str], None]:
    """Return what checks labels, given with the name of their split.

    Args:
        kind: Of the task; None checks nothing.
        outputs: Of the teacher for a few inputs, [B, ...].
        classes: Number of classes, None where labels are no class numbers.

    Returns:
        A function that raises DataError where labels cannot be.
    """

    def check(labels: Tensor, split: str) -> None:
        if kind is None:
            return
        some = labels[: len(outputs)]
        if not kind.valid(labels) or not kind.fits(outputs[: len(some)], some):
            values = ", ".join(f"{float(v):g}" for v in labels.flatten()[:3])
            raise DataError(f"{split} labels are {described(labels)} ({values}, ...), allowed: {kind.labels}")
        if classes is not None and not labels.is_floating_point():
            left_out = (labels < 0) if kind.void is None else (labels < 0) | (labels == kind.void)
            counted = labels[~left_out] if labels.ndim > 1 else labels
            check_labels(counted, classes, split)

    return check


def check_names(names: Sequence[object] | None, classes: int | None) -> None:
    """Refuse names of classes that are too many or too few.

    Args:
        names: A user's, None where there are none.
        classes: How many classes there are, None where there are none.

    Raises:
        DataError: There is another number of classes.
    """
    if names is not None and classes is not None and len(names) != classes:
        raise DataError(f"{len(names)} labels for {classes} classes: name each class once, in their order")


class PlacedLoss:
    """A loss that is a module, such as one with weights of classes, on whatever device outputs are."""

    def __init__(self, module: nn.Module) -> None:
        """Take the user's module, which stays where it is."""
        self._module, self._placed = module, dict[torch.device, nn.Module]()

    def __call__(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return what the module says of outputs [B, ...] and labels [B, ...]."""
        device = outputs.device
        if device.type != "cpu" and device not in self._placed:
            self._placed[device] = copy.deepcopy(self._module).to(device)
        found: Tensor = self._placed.get(device, self._module)(outputs, labels)
        return found

    def __getstate__(self) -> dict[str, Any]:
        return {"_module": self._module, "_placed": {}}  # other machines have other devices


def placed(loss: LossFunction | None) -> LossFunction | None:
    """Return a user's loss as one that can be computed on any device."""
    return PlacedLoss(loss) if isinstance(loss, nn.Module) else loss


def own_losses(loss: LossFunction, outputs: Tensor) -> Losses:
    """Return the losses of a task of no kind: its own, and the squared distance from the teacher, over their variance.

    Outputs are measured numbers where the steps of bfloat16 are coarse beside what they differ by between inputs.

    Args:
        loss: Against labels.
        outputs: Of the teacher for a few inputs, [B, ...].
    """
    spread = float(outputs.var(unbiased=False)) or 1.0
    steps, differences = (outputs * STEP).square().mean(), outputs.var(0, unbiased=False).mean()
    precise = float(steps) > COARSE**2 * float(differences)
    return Losses(loss, lambda student, teacher, _: squared_distance(student, teacher, spread), precise)


def for_each_example(distillation: Divergence) -> Divergence:
    """Return a user's distillation as one that gives a number for each example."""

    def soft(student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        found = distillation(student, teacher, temperature)
        return found.expand(len(student)) if found.ndim == 0 else found.flatten(1).mean(1) if found.ndim > 1 else found

    return soft


def inputs_given(value: Tensor | Sequence[Tensor] | Mapping[Any, Tensor], interface: Interface, what: str) -> Inputs:
    """Return inputs that a user gave by themselves, in the order of the interface.

    Args:
        value: One tensor, several in order, or by their names.
        interface: Of the teacher.
        what: What they are, for messages.

    Raises:
        DataError: One is missing, or cannot be an input.
    """
    if isinstance(value, Mapping):
        missing = [name for name in interface.names if name not in value]
        if missing:
            raise DataError(f"{what} has no {missing[0]!r}: give {', '.join(map(str, interface.names))}")
        value = [value[name] for name in interface.names]
    parts = (value,) if isinstance(value, Tensor) else tuple(value)
    if len(parts) != len(interface.names):
        raise DataError(f"{what} has {len(parts)} inputs, the data has {len(interface.names)}: they must agree")
    parts = tuple(as_input(part, what) for part in parts)
    return parts[0] if len(parts) == 1 else parts


def check_alike(name: str, got: Inputs, expected: Inputs) -> Inputs:
    """Check that inputs have the shapes and the kinds of numbers of those of validation, but for their number.

    Args:
        name: What they are, for messages.
        got: The inputs, [M, ...] each.
        expected: Of validation, [B, ...] each.

    Returns:
        The inputs, with real numbers in the width that those of validation have.

    Raises:
        DataError: They have not.
    """
    if shapes_of(got) != shapes_of(expected):
        some, wanted = (" and ".join(map(str, shapes_of(each))) for each in (got, expected))
        raise DataError(f"{name} has inputs of shape {some}, validation has {wanted}: all splits must agree")
    pairs = list(zip(tensors_of(got), tensors_of(expected), strict=True))
    if any(_numbers(own) != _numbers(other) for own, other in pairs):
        some, wanted = (" and ".join(dtype_of(part) for part in tensors_of(each)) for each in (got, expected))
        raise DataError(f"{name} is {some}, validation {wanted}: give the same")
    cast = tuple(own.to(other.dtype) if own.is_floating_point() else own for own, other in pairs)
    return cast[0] if isinstance(got, Tensor) else cast


def _numbers(part: Tensor) -> str:
    """Return what the numbers of a tensor are, whatever their width: yes or no, real or whole."""
    if part.dtype == torch.bool:
        return "bool"
    return "real" if part.is_floating_point() else "whole"
