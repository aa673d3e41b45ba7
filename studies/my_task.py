"""A task of your own: your network, your data and your metric.

Copy this file, put them in, then run

    autocompress search --task my_task.py --budget-ms 0.025

The file defines `task()`. It returns what must stay true of the compressed models: the trained teacher, the
data, and the metric. Everything here is plain PyTorch; nothing needs to be known of AutoCompress but `Task`.
"""

from __future__ import annotations

from pathlib import Path

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, Subset

from autocompress import Task

# Kept between runs, so that every worker and every resumed study compresses the very same teacher.
WEIGHTS = Path("runs/my_task_teacher.pt")


class Digits(Dataset[tuple[Tensor, int]]):
    """Any Dataset will do. Its items are pairs of an input and a label; see `Task` for others."""

    def __init__(self) -> None:
        bunch = load_digits()
        self.images = torch.from_numpy(bunch.images).float().div(16).unsqueeze(1)
        self.labels = bunch.target.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.images[index], self.labels[index]


class SmallCNN(nn.Sequential):
    """Any network will do. This one maps images [N, 1, 8, 8] to logits [N, 10]."""

    def __init__(self) -> None:
        super().__init__(
            nn.Conv2d(1, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.Conv2d(32, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(64, 64, 3, padding=1, bias=False),
            nn.BatchNorm2d(64),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(64, 10),
        )


def balanced_accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Return any number for outputs [N, K] and labels [N]. Without a metric it is top-1 accuracy."""
    right = (outputs.argmax(1) == labels).float()
    return float(torch.stack([right[labels == c].mean() for c in range(10)]).mean())


def trained_teacher(train: Dataset[tuple[Tensor, int]]) -> nn.Module:
    """Return your trained network. This one is trained in a few seconds when there are no weights yet."""
    torch.manual_seed(0)
    model = SmallCNN()
    if WEIGHTS.exists():
        model.load_state_dict(torch.load(WEIGHTS, weights_only=True))
        return model.eval()
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    for _ in range(8):
        for images, labels in DataLoader(train, batch_size=64, shuffle=True):
            loss = nn.functional.cross_entropy(model(images), labels)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    WEIGHTS.parent.mkdir(parents=True, exist_ok=True)
    torch.save(model.state_dict(), WEIGHTS)
    return model.eval()


def task() -> Task:
    """Return the task. Each process that works on the study calls this once."""
    digits = Digits()
    order = torch.randperm(len(digits), generator=torch.Generator().manual_seed(0)).tolist()
    # The search chooses by validation; test is looked at once, at the end. They must not overlap.
    train, validation = Subset(digits, order[:1100]), Subset(digits, order[1100:1450])
    test = Subset(digits, order[1450:])
    return Task(
        teacher=trained_teacher(train),
        train=train,
        validation=validation,
        test=DataLoader(test, batch_size=100),
        metric=balanced_accuracy,
        name="my_task",
    )
