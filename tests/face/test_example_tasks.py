"""The example tasks: each kind has one over real data, and its teacher knows something."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import pytest
import torch
from torchvision.ops import box_iou

from autocompress.spaces.group import remove_channels
from autocompress.spaces.network import look_at_network
from autocompress.studies.kinds import KINDS
from autocompress.studies.task import load_task

FILE = Path(__file__).parents[2] / "examples" / "tasks" / "kinds.py"
AT_LEAST = {
    "binary": 0.9,
    "multilabel": 0.6,
    "regression": -75.0,
    "segmentation": 0.5,
    "tokens": 0.9,
    "language_model": -15.0,
}
"""What each teacher has at least, however its training fell out, with a minus sign where lower is better."""


def test_each_kind_has_an_example() -> None:
    assert {*AT_LEAST, "classification"} == set(KINDS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", AT_LEAST)
def test_an_example_task_can_be_searched(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    task = load_task(f"{FILE}:{kind}")
    prepared = task.prepared()
    assert task.kind == kind and prepared.metric is KINDS[kind].metric  # type: ignore[index]
    assert prepared.teacher_look is not None and prepared.teacher_look > AT_LEAST[kind]


@pytest.fixture
def detection(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(FILE.parent)
    return importlib.import_module("detection")


def test_average_precision_is_one_for_the_truth_and_none_for_nothing(detection: Any) -> None:
    detector = detection.new_detector()
    boxes = detection.Boxes(detector)
    _, labels = detection.scenes(0, 1000, 12).tensors
    outputs = torch.zeros(12, len(boxes.anchors), 4 + detection.CLASSES)
    outputs[:, :, 4] = 20.0
    assert boxes.mean_average_precision(outputs, labels) == 0.0
    for row, label in zip(outputs, labels, strict=True):
        truth = detection.objects_of(label)
        matched = detector.proposal_matcher(box_iou(truth["boxes"], boxes.anchors))
        for anchor in (matched >= 0).nonzero().flatten().tolist():
            which = int(matched[anchor])
            there = boxes.anchors[anchor : anchor + 1]
            row[anchor, :4] = detector.box_coder.encode_single(truth["boxes"][which : which + 1], there)[0]
            row[anchor, 4], row[anchor, 4 + int(truth["labels"][which])] = 0.0, 20.0
    assert boxes.mean_average_precision(outputs, labels) == pytest.approx(1.0)
    worse = outputs.clone()
    worse[:6, :, 4], worse[:6, :, 5:] = 20.0, 0.0
    assert 0.2 < boxes.mean_average_precision(worse, labels) < 0.9, "half of the objects are not found"
    assert float(boxes.loss(outputs, labels)) < 0.1 < float(boxes.loss(worse, labels))
    assert float(boxes.distillation(outputs, outputs, 2.0).abs().max()) < 1e-4


@pytest.mark.slow
def test_a_detector_is_searched_in_backbone_and_head(detection: Any) -> None:
    torch.manual_seed(0)
    detector = detection.new_detector()
    teacher, boxes = detection.Heads(detector), detection.Boxes(detector)
    splits = [detection.scenes(first, first + 300, 24) for first in (0, 1000, 1400)]
    prepared = detection.task_of(teacher, boxes, splits).prepared()
    found = look_at_network(prepared.teacher, prepared.example_input)
    inside = {member.layer.partition(".")[0] for group in found.groups for member in group.members}
    assert inside == {"backbone", "head"} and len(found.groups) > 30
    remove_channels(prepared.teacher, found.groups, {group.name: group.choices(1, 0.0)[0] for group in found.groups})
    assert prepared.teacher(prepared.example_input).shape == (1, len(boxes.anchors), 4 + detection.CLASSES)
