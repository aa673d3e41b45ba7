"""Object detection with torchvision's SSDLite: backbone and head are searched, boxes are decoded outside the file.

    autocompress search --task examples/tasks/detection.py:digits_in_scenes --minutes 10

A detector of torchvision takes lists of images, and gives boxes by loops that no file holds. `Heads` takes a batch of
images and gives what the convolutions say, as one tensor; the loss and the metric decode it. The teacher is trained in
about ten minutes, once: its weights are kept below `runs/`.
"""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset
from torchvision.models.detection import ssdlite320_mobilenet_v3_large
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.ssd import SSD
from torchvision.ops import box_iou

from autocompress import Task

WEIGHTS = Path("runs/example_teachers/detection.pt")
SIDE = 96
"""Height and width of a scene in pixels."""
CLASSES = 11
"""Ten digits, and 0 for the background, as torchvision has it."""
MOST = 3
"""Objects in a scene, at most."""
EPOCHS = 14


def digits_in_scenes() -> Task:
    """Find handwritten digits in cluttered scenes, judged by the mean average precision at an overlap of one half."""
    splits = [scenes(*part) for part in ((0, 1000, 2400), (1000, 1400, 400), (1400, 1797, 400))]
    detector = new_detector()
    teacher, boxes = Heads(detector), Boxes(detector)
    if WEIGHTS.exists():
        teacher.load_state_dict(torch.load(WEIGHTS, weights_only=True))
    else:
        train(teacher, boxes, splits[0])
    return task_of(teacher, boxes, splits)


def new_detector() -> SSD:
    """Return torchvision's detector with random weights."""
    return ssdlite320_mobilenet_v3_large(
        weights=None, weights_backbone=None, num_classes=CLASSES, score_thresh=0.05, detections_per_img=20
    )


def task_of(teacher: Heads, boxes: Boxes, splits: list[TensorDataset]) -> Task:
    """Return the task for a detector and its data: train, validation and test."""
    return Task(
        teacher.eval(),
        *splits,
        kind=None,
        loss=boxes.loss,
        distillation=boxes.distillation,
        metric=boxes.mean_average_precision,
        name="digits_in_scenes",
    )


class Heads(nn.Module):
    """The part of a detector that becomes a file: images [N, 3, H, W] to boxes and logits [N, anchors, 4 + classes]."""

    def __init__(self, detector: SSD) -> None:
        super().__init__()
        self.backbone, self.head = detector.backbone, detector.head

    def forward(self, images: Tensor) -> Tensor:
        """Return offsets of boxes against their anchors, and the logits of classes."""
        found = self.head(list(self.backbone(images).values()))
        return torch.cat([found["bbox_regression"], found["cls_logits"]], dim=2)


class Boxes:
    """What a detector does behind its convolutions: the losses, and the boxes that it finds.

    Args:
        detector: A detector of torchvision; its anchors, its matching and its thresholds are used as they are.
    """

    def __init__(self, detector: SSD) -> None:
        self.detector = detector
        image = torch.zeros(1, 3, SIDE, SIDE)
        with torch.no_grad():
            maps = list(detector.eval().backbone(image).values())
        (self.anchors,) = detector.anchor_generator(ImageList(image, [(SIDE, SIDE)]), maps)

    def loss(self, outputs: Tensor, labels: Tensor) -> Tensor:
        """Return the loss of SSD for outputs [N, anchors, 4 + classes] and objects [N, MOST, 5]."""
        truth = [objects_of(each) for each in labels]
        anchors = self.anchors.to(outputs.device)
        matched = [self.detector.proposal_matcher(box_iou(each["boxes"], anchors)) for each in truth]
        found = self.detector.compute_loss(truth, halves(outputs), [anchors] * len(outputs), matched)
        return found["bbox_regression"] + found["classification"]

    def distillation(self, student: Tensor, teacher: Tensor, temperature: float) -> Tensor:
        """Return how far classes and boxes are apart [N]; boxes count where the teacher sees an object."""
        mine, theirs = halves(student), halves(teacher)
        said = F.softmax(theirs["cls_logits"] / temperature, dim=2)
        apart = F.kl_div(F.log_softmax(mine["cls_logits"] / temperature, dim=2), said, reduction="none").sum(2)
        sees = 1 - F.softmax(theirs["cls_logits"], dim=2)[:, :, 0]
        off = F.smooth_l1_loss(mine["bbox_regression"], theirs["bbox_regression"], reduction="none").sum(2)
        objects = sees.sum(1).clamp_min(1)
        return (apart.sum(1) * temperature**2 + (off * sees).sum(1)) / objects

    def mean_average_precision(self, outputs: Tensor, labels: Tensor) -> float:
        """Return the mean over classes of the area under precision and recall, at an overlap (IoU) of one half."""
        many = len(outputs)
        found = self.detector.postprocess_detections(halves(outputs), [self.anchors] * many, [(SIDE, SIDE)] * many)
        truth = [objects_of(each) for each in labels]
        present = {int(number) for each in truth for number in each["labels"]}
        return sum(average_precision(found, truth, number) for number in present) / len(present)


def average_precision(found: list[dict[str, Tensor]], truth: list[dict[str, Tensor]], number: int) -> float:
    """Return the area under precision and recall for one class; each object can be found once."""
    hits: list[tuple[float, bool]] = []
    for mine, theirs in zip(found, truth, strict=True):
        boxes, scores = (mine[key][mine["labels"] == number] for key in ("boxes", "scores"))
        overlap = box_iou(boxes, theirs["boxes"][theirs["labels"] == number])
        free = torch.ones(overlap.shape[1], dtype=torch.bool)
        for i in scores.argsort(descending=True).tolist():
            best = (overlap[i] * free).max(0) if len(free) else None
            hit = best is not None and float(best.values) >= 0.5
            if best is not None and hit:
                free[best.indices] = False
            hits.append((float(scores[i]), hit))
    right = torch.tensor([hit for _, hit in sorted(hits, key=lambda found: -found[0])], dtype=torch.float64)
    precision = right.cumsum(0) / torch.arange(1, len(right) + 1)
    highest = precision.flip(0).cummax(0).values.flip(0)  # the best precision at this recall or a higher one
    objects = sum(int((each["labels"] == number).sum()) for each in truth)
    return float((highest * right).sum() / objects)


def halves(outputs: Tensor) -> dict[str, Tensor]:
    """Return outputs [N, anchors, 4 + classes] by the names that torchvision has for them."""
    return {"bbox_regression": outputs[:, :, :4], "cls_logits": outputs[:, :, 4:]}


def objects_of(label: Tensor) -> dict[str, Tensor]:
    """Return the objects of one scene, of rows (x1, y1, x2, y2, class) in which class 0 stands for none."""
    real = label[label[:, 4] > 0]
    return {"boxes": real[:, :4], "labels": real[:, 4].long()}


def scenes(first: int, last: int, many: int) -> TensorDataset:
    """Return scenes [many, 3, SIDE, SIDE] from -1 to 1 with objects [many, MOST, 5], drawn from some of the digits."""
    bunch = load_digits()
    digits, source = torch.from_numpy(bunch.images).float().div(16), torch.Generator().manual_seed(first)

    def number(low: int, high: int) -> int:
        return int(torch.randint(low, high, (1,), generator=source))

    images, labels = torch.rand(many, 1, SIDE, SIDE, generator=source) * 0.3, torch.zeros(many, MOST, 5)
    for image, label in zip(images, labels, strict=True):
        for _ in range(12):  # strokes that are no digits
            x, y, long = number(0, SIDE - 24), number(0, SIDE - 24), number(4, 24)
            image[:, y : y + (long if long % 2 else 3), x : x + (3 if long % 2 else long)] += 0.4
        for i in range(number(1, MOST + 1)):
            which, size = number(first, last), number(20, 44)
            x, y = number(0, SIDE - size), number(0, SIDE - size)
            box = torch.tensor([[x, y, x + size, y + size]], dtype=torch.float32)
            if i and float(box_iou(box, label[:i, :4]).max()) > 0.05:
                continue
            patch = F.interpolate(digits[which][None, None], (size, size), mode="bilinear")[0]
            image[:, y : y + size, x : x + size] = torch.maximum(image[:, y : y + size, x : x + size], patch * 1.2)
            label[i] = torch.cat([box[0], torch.tensor([float(bunch.target[which] + 1)])])
    return TensorDataset((images.clamp(0, 1) * 2 - 1).expand(-1, 3, -1, -1), labels)


def train(teacher: nn.Module, boxes: Boxes, data: TensorDataset) -> None:
    """Train a detector from random weights, and keep its weights."""
    loader = DataLoader(data, batch_size=32, shuffle=True, drop_last=True)
    optimizer = torch.optim.AdamW(teacher.parameters(), weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, epochs=EPOCHS, steps_per_epoch=len(loader))
    teacher.train()
    for _ in range(EPOCHS):
        for images, labels in loader:
            optimizer.zero_grad()
            boxes.loss(teacher(images), labels).backward()
            optimizer.step()
            schedule.step()
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    torch.save(teacher.state_dict(), WEIGHTS)
