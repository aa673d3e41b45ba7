"""The first look: what a student is worth before any training, once its norms know its own activations."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from ..spaces.graph.capture import every_layer_called
from ..spaces.graph.devices import moved
from ..spaces.inputs import Inputs, call, rows_of
from .fake_quant import FakeQuantizer
from .norms import reestimate_norms
from .passes import inputs_at_once
from .precision import autocast_context, module_to_training_layout, to_training_layout
from .seeds import seeded_generator
from .student import Student
from .training_data import LabelledData

NORM_INPUTS = 512
"""At most so many calibration inputs re-estimate the norms."""
NORM_BATCH = 128
"""Inputs of one batch, at least, that the norms are estimated on."""
RANGE_INPUTS = 128
"""So many calibration inputs set the activation ranges of 8-bit layers."""
LOOK_IMAGES = 1000
"""At most so many validation images are looked at, the same ones for every student."""
CHUNK = 256
"""Inputs in a forward pass, at most."""

Quiet = Callable[[], AbstractContextManager[Any]]
"""Makes a context that is entered around every short piece of work, so that latencies are measured in peace."""


def first_look(
    student: Student,
    fake: FakeQuantizer,
    calibration: Inputs,
    data: LabelledData,
    metric: Callable[[Tensor, Tensor], float],
    device: torch.device,
    precise: bool = False,
    quiet: Quiet = nullcontext,
) -> float:
    """Score an untrained student with its bits, on a part of `data` that is the same for every student.

    The score orders students that were not trained, for choosing which ones to train. Pruning shifts what norms see,
    and stale statistics hide how good a student is (Li et al. 2020, arXiv:2007.02491).

    The student can be trained afterwards. It is in eval mode on `device`, its weights and masks are as they were, and
    fake quantization is off. It keeps the re-estimated statistics, which training starts from rather than from the
    teacher's.

    Args:
        student: Changed as said above.
        fake: Fake quantization of the student's module with its specification's bits, switched off.
        calibration: Inputs [M, ...] of the training data, for the norms and the ranges of activations.
        data: The validation split, which sets neither.
        metric: Maps outputs [N, ...] and labels [N, ...] to a number.
        device: Where the student runs.
        precise: Whether outputs are measured numbers, which stay in float32.
        quiet: See `Quiet`.
    """
    module = module_to_training_layout(student.module, device)
    inputs = rows_of(calibration, slice(0, NORM_INPUTS))
    with quiet():
        batch = inputs_at_once(module.eval(), to_training_layout(rows_of(inputs, slice(0, 1)), device), NORM_BATCH)
        reestimate_norms(module, inputs, max(2, batch))
    rows = torch.randperm(len(data), generator=seeded_generator("look"))[:LOOK_IMAGES]
    outputs = outputs_with_bits(module, fake, calibration, data, rows, device, precise, quiet)
    with quiet():
        return metric(outputs, data.labels[rows])


@torch.no_grad()
def outputs_with_bits(
    module: nn.Module,
    fake: FakeQuantizer,
    calibration: Inputs,
    data: LabelledData,
    rows: Tensor,
    device: torch.device,
    precise: bool = False,
    quiet: Quiet = nullcontext,
) -> Tensor:
    """Run a network with fake quantization on some rows of `data`.

    Afterwards the network is in eval mode on `device`, and fake quantization is off.

    Args:
        module: The network.
        fake: Its fake quantization. Where it has no ranges, it takes them of RANGE_INPUTS calibration inputs at most.
        calibration: Inputs [M, ...] of the training data.
        data: What is looked at.
        rows: Which rows of it, [R].
        device: Where the network runs.
        precise: Whether outputs are measured numbers, which stay in float32.
        quiet: See `Quiet`.

    Returns:
        The outputs [R, ...], float32, on the CPU.
    """
    moved(module, device).eval()
    with quiet():
        many = inputs_at_once(module, to_training_layout(data.inputs(rows[:1]), device), CHUNK)
    fake.switch_on()
    parts: list[Tensor] = []
    try:
        with autocast_context(device, precise), every_layer_called():
            if fake.quantizes and not fake.ranges:
                with quiet():
                    call(module, to_training_layout(rows_of(calibration, slice(0, min(RANGE_INPUTS, many))), device))
            for some in torch.split(rows, many):
                with quiet():  # until a GPU is through, too
                    parts.append(call(module, to_training_layout(data.inputs(some), device)).float().cpu())
    finally:
        fake.switch_off()
    return torch.cat(parts)
