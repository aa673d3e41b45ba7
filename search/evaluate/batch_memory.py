"""Whether a batch fits into memory, told before a runtime tries to take it."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, fx

from ...errors import UsageError
from ...memory import available_bytes
from ...spaces.inputs import tensors_of
from ...studies.task import PreparedTask

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
