"""Whether a batch fits into memory, told before a runtime or a training tries to take it."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, fx

from ...compression.memory import activation_bytes
from ...compression.precision import (
    autocast_context,
    module_to_training_layout,
    to_training_layout,
    training_device,
)
from ...errors import UsageError
from ...memory import available_bytes, gibibytes
from ...spaces.inputs import rows_of, tensors_of
from ...studies.task import PreparedTask

FEW = 2
"""Examples that training is tried on: norms cannot learn from one."""
HELD = 2
"""Tensors of the largest size that an inference holds at a time: what a layer reads, and what it writes."""


def check_batch(task: PreparedTask, batch: int) -> None:
    """Refuse a batch whose largest tensors do not fit into the memory that is free.

    Args:
        task: The study's task.
        batch: Inputs per inference on the target.

    Raises:
        UsageError: They do not.
    """
    largest = _Largest(task.teacher)
    with torch.no_grad():
        largest.run(*tensors_of(task.example_input))
    needed, free = HELD * batch * largest.size_bytes, available_bytes()
    if needed > free:
        raise UsageError(
            f"[target] batch = {batch} needs {needed / 2**30:.3g} GiB for the teacher's largest tensors, and "
            f"{free / 2**30:.3g} GiB are free; allowed: up to {int(free / max(1, HELD * largest.size_bytes))}"
        )


def remark_on_training(task: PreparedTask, batch: int) -> str:
    """Return a line where training with such a batch needs more memory than is free, empty elsewhere.

    Args:
        task: The study's task.
        batch: Inputs in a training batch.
    """
    device = training_device()
    inputs, _ = task.train.epoch_plan(0, FEW, 0).batch(0)
    inputs = rows_of(inputs, slice(0, FEW))
    network = module_to_training_layout(copy.deepcopy(task.teacher), device).train()
    # networks with dropout draw numbers, of which nothing else may hang
    with torch.random.fork_rng(devices=[]), autocast_context(device, task.losses.precise, scaled=True):
        each = activation_bytes(network, to_training_layout(inputs, device))
    free = available_bytes() if device.type == "cpu" else torch.cuda.mem_get_info(device)[0]
    if batch * each <= free:
        return ""
    return (
        f"careful: a step of the teacher with a batch of {batch} keeps {gibibytes(batch * each)} of activations, and "
        f"{gibibytes(free)} are free: give a smaller [recovery] batch_size, such as {max(1, free // (2 * each))}"
    )


class _Largest(fx.Interpreter):
    """Runs a network, and keeps the size of the largest tensor that its layers give."""

    def __init__(self, network: fx.GraphModule) -> None:
        super().__init__(network)
        self.size_bytes = 0

    def run_node(self, n: fx.Node) -> Any:
        found = super().run_node(n)
        if isinstance(found, Tensor) and n.op != "get_attr":
            self.size_bytes = max(self.size_bytes, found.numel() * found.element_size())
        return found
