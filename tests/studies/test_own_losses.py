"""Losses of the user's own: those that hold numbers, such as weights of classes that are rare, and those of no kind."""

from __future__ import annotations

import pickle

import pytest
import torch
import torch.nn.functional as F
from small_tasks import Knows, splits
from torch import Tensor, nn

from autocompress.studies.task import Task


def test_a_loss_with_weights_of_classes_is_computed_where_outputs_are() -> None:
    loss = nn.CrossEntropyLoss(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    hard = Task(Knows(), **splits(), loss=loss).prepared().losses.hard
    outputs, labels = torch.randn(5, 4), torch.arange(5) % 4
    assert torch.equal(hard(outputs, labels), loss(outputs, labels))
    assert hard(outputs.to("meta"), labels.to("meta")).device.type == "meta"
    assert loss.weight is not None and loss.weight.device.type == "cpu", "the user's own stays where it is"
    sent = pickle.loads(pickle.dumps(hard))
    assert torch.equal(sent(outputs, labels), loss(outputs, labels))


@pytest.mark.parametrize(("offset", "precise"), [(0.0, False), (2000.0, True)])
def test_numbers_that_bfloat16_cannot_tell_apart_are_kept_precise_without_a_kind(offset: float, precise: bool) -> None:
    class Years(Knows):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + offset

    made = splits(lambda x: 3 * x[:, :4] + offset)
    task = Task(Years(), **made, kind=None, loss=F.l1_loss, metric=lambda o, y: -float(F.l1_loss(o, y)))
    assert task.prepared().losses.precise == precise
