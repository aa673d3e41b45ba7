"""The first look: what a student is worth before any training, once its norms know its own activations."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ..studies.data.images import ImageData, seeded_generator
from .fake_quant import FakeQuantizer
from .norms import reestimate_norms
from .precision import autocast_context, every_layer_called, module_to_training_layout, to_training_layout
from .student import Student

NORM_INPUTS = 512
"""At most this many calibration inputs re-estimate the norms."""
NORM_BATCH = 128
RANGE_INPUTS = 128
"""Calibration inputs that set the activation ranges of 8-bit layers."""
LOOK_IMAGES = 1000
"""At most this many validation images are looked at, the same ones for every student."""
CHUNK = 256


def first_look(
    student: Student,
    fake: FakeQuantizer,
    calibration: Tensor,
    data: ImageData,
    metric: Callable[[Tensor, Tensor], float],
    device: torch.device,
) -> float:
    """The metric of an untrained student with its bits, on a part of `data` that is the same for every student.

    fake: of the student's module and its spec's bits, switched off. calibration: inputs [M, ...] of the training data,
    for the norms and the ranges of activations; `data` is the validation split and sets neither. metric: outputs [N, K]
    and labels [N] to a number. An order among students that were not trained is a first look, no verdict: for
    choosing which ones to train. Pruning shifts what norms see, and stale statistics hide how good a student is (Li
    et al. 2020, arXiv:2007.02491).

    The student can be trained afterwards: it is in eval mode on `device`, its weights and masks as they were, without
    fake quantization. It keeps the re-estimated statistics, which training starts from rather than from the teacher's.
    """
    module = module_to_training_layout(student.module, device)
    reestimate_norms(module, calibration[:NORM_INPUTS], NORM_BATCH)
    rows = torch.randperm(len(data), generator=seeded_generator("look"))[:LOOK_IMAGES]
    outputs = outputs_with_bits(module, fake, calibration, data, rows, device)
    return metric(outputs, data.labels[rows])


@torch.no_grad()
def outputs_with_bits(
    module: nn.Module, fake: FakeQuantizer, calibration: Tensor, data: ImageData, rows: Tensor, device: torch.device
) -> Tensor:
    """What `module` says of these rows of `data`, [len(rows), K], float32 on the CPU, with the fake quantization of
    `fake`: by the ranges it has, else by those of RANGE_INPUTS of the calibration inputs. Leaves it in eval mode on
    `device`, fake quantization switched off."""
    module.to(device).eval()
    fake.switch_on()
    try:
        with autocast_context(device), every_layer_called():
            if fake.quantizes and not fake.ranges:
                module(to_training_layout(calibration[:RANGE_INPUTS], device))
            parts = [module(to_training_layout(data.inputs(some), device)) for some in torch.split(rows, CHUNK)]
    finally:
        fake.switch_off()
    return torch.cat([part.float().cpu() for part in parts])
