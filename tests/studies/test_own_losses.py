"""Losses of the user's own that hold numbers, such as weights of classes that are rare."""

from __future__ import annotations

import torch
from small_tasks import Knows, splits
from torch import nn

from autocompress.studies.task import Task


def test_weights_of_classes_come_to_the_device_of_the_outputs() -> None:
    loss = nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 3.0, 4.0]))
    hard = Task(Knows(), **splits(), loss=loss).prepared().losses.hard
    outputs, labels = torch.randn(5, 4), torch.arange(5) % 4
    assert torch.equal(hard(outputs, labels), loss(outputs, labels))
    assert hard(outputs.to("meta"), labels.to("meta")).device.type == "meta"
    assert loss.weight is not None and loss.weight.device.type == "cpu", "theirs stays where it is"
