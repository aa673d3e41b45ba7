"""What training keeps in memory is told before it is taken."""

from __future__ import annotations

import pytest
import torch
from small_tasks import Knows, splits
from torch import nn

from autocompress.compression.memory import activation_bytes
from autocompress.search.evaluate.batch_memory import remark_on_training
from autocompress.studies.task import Task


def test_what_a_forward_pass_keeps_is_counted_once_and_without_weights() -> None:
    network = nn.Sequential(nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 4)).train()
    assert activation_bytes(network, torch.randn(3, 6)) == 4 * (6 + 5), "the inputs of both layers"


def test_a_training_that_does_not_fit_is_told_with_a_batch_that_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("autocompress.search.evaluate.batch_memory.training_device", lambda: torch.device("cpu"))
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)
    prepared = Task(Knows(), **splits()).prepared()
    assert remark_on_training(prepared, 128) == ""
    monkeypatch.setattr("autocompress.search.evaluate.batch_memory.available_bytes", lambda: 20 * 4 * 12)
    said = remark_on_training(prepared, 128)
    assert "a batch of 128 keeps" in said and said.endswith("batch_size, such as 10")
    assert remark_on_training(prepared, 16) == ""
