"""How much each channel of a group matters, by one of several criteria: which channels a narrower student keeps."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import MeasurementError
from ..spaces.graph.devices import moved
from ..spaces.graph.shrink import Place
from ..spaces.group import Group, Member, channel_sums
from ..spaces.inputs import Inputs, call, count_of, in_equal_parts, mapped
from .seeds import seeded_generator

FOUND_WITH = "l2"
"""The criterion that groups are found with."""
COMPARED = (FOUND_WITH, "l1", "taylor", "bn_scale")
"""Criteria that say something of a network."""
CPU = torch.device("cpu")
BATCH = 32
"""Examples of one gradient: over all of them together, gradients of a trained network are nearly zero."""


def rated(
    teacher: nn.Module,
    groups: Sequence[Group],
    criterion: str,
    examples: Callable[[], tuple[Inputs, Tensor]],
    loss: Callable[[Tensor, Tensor], Tensor],
    seed: int = 0,
    device: torch.device = CPU,
    breathe: Callable[[], None] = lambda: None,
) -> tuple[Group, ...]:
    """Return the groups of a network, their channels rated by a criterion. The network is not changed.

    "l1" and "l2" add up magnitudes or squares of all weights that a channel has (Li et al. 2017, arXiv:1608.08710).
    "taylor" adds up |weight * gradient of the loss|, the first-order change of the loss if a weight went (Molchanov et
    al. 2019, arXiv:1906.10771, section 3.1), over batches of training examples. "bn_scale" takes the scales of the
    batch norms that a channel passes (Liu et al. 2017, arXiv:1708.06519), and "l2" for groups without any. "random"
    draws them.

    Args:
        teacher: The trained network, in eval mode.
        groups: Its groups, as they were found.
        criterion: One of `COMPARED`, or "random". "l2" leaves the groups as they are.
        examples: Returns inputs [N, ...] and labels [N, ...] of the training data; asked for by "taylor" alone.
        loss: Maps outputs [B, ...] and labels [B, ...] to a mean loss.
        seed: Of "random".
        device: Where gradients are computed.
        breathe: Is called between batches.

    Raises:
        MeasurementError: The loss is no number, or has no gradient.
    """
    if criterion == FOUND_WITH:
        return tuple(groups)
    if criterion == "random":
        return tuple(replace(group, importance=_drawn(group, seed)) for group in groups)
    if criterion == "bn_scale":
        return tuple(_with(group, _scales(teacher, group)) for group in groups)
    if criterion == "taylor":
        change = _changes_of_loss(teacher, *examples(), loss, device, breathe)
        return tuple(_with(group, _sums(group, change.get)) for group in groups)

    def size(parameter: str) -> Tensor | None:
        weight = _tensor(teacher, parameter)
        return weight.detach().float().abs() if weight.is_floating_point() else None

    return tuple(_with(group, _sums(group, size)) for group in groups)


def _with(group: Group, scores: Sequence[Tensor]) -> Group:
    """Return a group with the mean of scores [channels]; as it was found where there are none."""
    return replace(group, importance=torch.stack(tuple(scores)).mean(0)) if scores else group


def _sums(group: Group, values_of: Callable[[str], Tensor | None]) -> list[Tensor]:
    """Return the sums of each channel [channels] over the values of every weight with two dimensions or more."""
    found = []
    for member, place in _places(group):
        values = values_of(place.parameter) if place.blocks == 1 else None
        if values is not None and values.ndim >= 2:
            found.append(channel_sums(values, place.dim, member.pairs, group.channels))
    return found


def _scales(teacher: nn.Module, group: Group) -> list[Tensor]:
    found = []
    for member, place in _places(group):
        owner, _, leaf = place.parameter.rpartition(".")
        if leaf == "weight" and isinstance(teacher.get_submodule(owner), _BatchNorm):
            scale = _tensor(teacher, place.parameter).detach().float().abs()
            found.append(channel_sums(scale, place.dim, member.pairs, group.channels))
    return found


def _drawn(group: Group, seed: int) -> Tensor:
    return torch.rand(group.channels, generator=seeded_generator("criterion", seed, group.name))


def _changes_of_loss(
    teacher: nn.Module,
    inputs: Inputs,
    labels: Tensor,
    loss: Callable[[Tensor, Tensor], Tensor],
    device: torch.device,
    breathe: Callable[[], None],
) -> dict[str, Tensor]:
    """Return parameter -> |weight * gradient|, added up over batches of examples."""
    module = moved(copy.deepcopy(teacher).eval(), device)
    weights = {name: p for name, p in module.named_parameters(remove_duplicate=False) if p.is_floating_point()}
    for weight in weights.values():
        weight.requires_grad_(True)
    found = {name: torch.zeros(weight.shape) for name, weight in weights.items()}
    parts = in_equal_parts(inputs, max(1, count_of(inputs) // BATCH))
    for part, wanted in zip(parts, torch.split(labels, [count_of(part) for part in parts]), strict=True):
        breathe()
        with torch.enable_grad():
            value = loss(call(module, mapped(lambda x: x.to(device), part)).float(), wanted.to(device))
        if not (value.requires_grad and bool(torch.isfinite(value))):
            raise MeasurementError(
                f'[space] criterion = "taylor" follows the loss on training data, which is {float(value):g}'
                f"{'' if value.requires_grad else ' without a gradient'}; take another criterion, such as l1"
            )
        module.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        for name, weight in weights.items():
            if weight.grad is not None:
                found[name] += (weight.detach() * weight.grad).float().abs().cpu()
    return found


def _places(group: Group) -> list[tuple[Member, Place]]:
    return [(member, place) for member in group.members for place in member.places]


def _tensor(module: nn.Module, name: str) -> Tensor:
    owner, _, leaf = name.rpartition(".")
    found = getattr(module.get_submodule(owner), leaf)
    assert isinstance(found, Tensor)
    return found
