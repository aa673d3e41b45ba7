"""One small task of each kind, over real data that comes with scikit-learn or with Python itself.

    autocompress search --task examples/tasks/kinds.py:regression --minutes 3

Each function trains a teacher in a few seconds, once: its weights are kept below `runs/`. Copy the one that is nearest
to yours.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from pydoc_data.topics import topics

import torch
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from autocompress import Task

WEIGHTS = Path("runs/example_teachers")
LENGTH = 32
"""Characters in a piece of text."""


def binary() -> Task:
    """Tell harmless from harmful growths by 30 measures: one logit, labels 0 and 1."""
    bunch = load_breast_cancer()
    measures = torch.tensor((bunch.data - bunch.data.mean(0)) / bunch.data.std(0), dtype=torch.float32)
    splits = shares(measures, torch.tensor(bunch.target))
    net = nn.Sequential(nn.Linear(30, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 1))
    loss = nn.BCEWithLogitsLoss()
    teacher = fitted("binary", net, splits[0], lambda outputs, labels: loss(outputs[:, 0], labels.float()), 20)
    return Task(teacher, *splits, kind="binary", name="growths")


def multilabel() -> Task:
    """Say which digits are in a picture of two: ten logits, labels [N, 10] of 0 and 1."""
    images, digits = digit_images()
    images = torch.cat([images[0::2][:898], images[1::2][:898]], dim=3)
    labels = torch.zeros(898, 10).scatter_(1, digits[:1796].view(-1, 2), 1.0)
    splits = shares(images, labels)
    net = nn.Sequential(*convolutions(1, 32, 64), nn.AdaptiveAvgPool2d((1, 2)), nn.Flatten(), nn.Linear(128, 10))
    teacher = fitted("multilabel", net, splits[0], nn.BCEWithLogitsLoss(), 20)
    return Task(teacher, *splits, kind="multilabel", name="two_digits")


def regression() -> Task:
    """Foretell the course of diabetes by ten measures: one number, judged by RMSE (lower is better)."""
    bunch = load_diabetes()
    splits = shares(torch.tensor(bunch.data * 20, dtype=torch.float32), torch.tensor(bunch.target).float())
    net = nn.Sequential(nn.Linear(10, 128), nn.ReLU(), nn.Linear(128, 128), nn.ReLU(), nn.Linear(128, 1))
    with torch.no_grad():
        net[-1].bias.fill_(150.0)
    teacher = fitted("regression", net, splits[0], lambda o, y: (o[:, 0] - y).square().mean() / 6000, 20)
    return Task(teacher, *splits, kind="regression", name="diabetes")


def segmentation() -> Task:
    """Find the digits in a picture of four: a class for each pixel, 0 where there is no ink, judged by mIoU."""
    images, digits = digit_images()
    four, names = images[:1796].view(-1, 2, 2, 8, 8), digits[:1796].view(-1, 2, 2, 1, 1)
    maps = torch.where(four > 0.4, names + 1, 0)
    splits = shares(*(part.permute(0, 1, 3, 2, 4).reshape(-1, 16, 16) for part in (four, maps)))
    splits = [TensorDataset(part.tensors[0].unsqueeze(1), part.tensors[1]) for part in splits]
    net = nn.Sequential(*convolutions(1, 32, 64), *convolutions(64, 64, 64), nn.Conv2d(64, 11, 1))
    teacher = fitted("segmentation", net, splits[0], nn.CrossEntropyLoss(), 15)
    return Task(teacher, *splits, kind="segmentation", name="four_digits")


class Reads(nn.Module):
    """Reads characters [N, T] in one direction, and answers at each."""

    def __init__(self, characters: int, outputs: int) -> None:
        super().__init__()
        self.table, self.memory = nn.Embedding(characters, 32), nn.GRU(32, 64, batch_first=True)
        self.inner, self.head = nn.Linear(64, 128), nn.Linear(128, outputs)

    def forward(self, characters: Tensor) -> Tensor:
        """Return logits [N, T, outputs]."""
        return self.head(torch.relu(self.inner(self.memory(self.table(characters))[0])))


def tokens() -> Task:
    """Find the capitals of a text that is written small: a class for each character, none for what is no letter."""
    text = python_text()
    known = sorted(set(text.lower()))
    small = torch.tensor([known.index(c) for c in text.lower()]).view(-1, LENGTH)
    capital = torch.tensor([-100 if not c.isalpha() else int(c.isupper()) for c in text]).view(-1, LENGTH)
    splits = shares(small, capital)
    loss = nn.CrossEntropyLoss()
    net = Reads(len(known), 2)
    teacher = fitted("tokens", net, splits[0], lambda o, y: loss(o.flatten(0, 1), y.flatten()), 3)
    return Task(teacher, *splits, kind="tokens", name="capitals")


def language_model() -> Task:
    """Tell the next character, judged by perplexity (lower is better). Items have no labels: they are their own."""
    text = python_text()
    known = sorted(set(text))
    pieces = torch.tensor([known.index(c) for c in text]).view(-1, LENGTH)
    parts = [TensorDataset(part.tensors[0]) for part in shares(pieces, pieces)]
    loss = nn.CrossEntropyLoss()
    net = Reads(len(known), len(known))
    train = TensorDataset(parts[0].tensors[0], parts[0].tensors[0])
    teacher = fitted("language_model", net, train, lambda o, y: loss(o[:, :-1].flatten(0, 1), y[:, 1:].flatten()), 3)
    return Task(teacher, *parts, kind="language_model", name="characters")


def digit_images() -> tuple[Tensor, Tensor]:
    """Return images [1797, 1, 8, 8] and digits [1797]."""
    bunch = load_digits()
    return torch.from_numpy(bunch.images).float().div(16).unsqueeze(1), torch.from_numpy(bunch.target).long()


def python_text() -> str:
    """Return 96,000 characters of Python's own reference, as `help()` has it."""
    return "".join(topics[name] for name in sorted(topics))[: 3000 * LENGTH]


def shares(inputs: Tensor, labels: Tensor) -> list[TensorDataset]:
    """Return train, validation and test: 60, 20 and 20 %, drawn once and for all."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    most, some = round(0.6 * len(order)), round(0.2 * len(order))
    return [TensorDataset(inputs[rows], labels[rows]) for rows in order.split([most, some, len(order) - most - some])]


def convolutions(before: int, middle: int, after: int) -> list[nn.Module]:
    """Return two convolutions with norms and activations."""
    return [
        layer
        for i, o in ((before, middle), (middle, after))
        for layer in (nn.Conv2d(i, o, 3, padding=1, bias=False), nn.BatchNorm2d(o), nn.ReLU())
    ]


def fitted(
    name: str, net: nn.Module, train: TensorDataset, loss: Callable[[Tensor, Tensor], Tensor], epochs: int
) -> nn.Module:
    """Return the trained network; it is trained where there are no weights yet."""
    path = WEIGHTS / f"{name}.pt"
    if path.exists():
        net.load_state_dict(torch.load(path, weights_only=True))
        return net.eval()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(epochs):
        for inputs, labels in DataLoader(train, batch_size=32, shuffle=True, drop_last=True):
            optimizer.zero_grad()
            loss(net(inputs), labels).backward()
            optimizer.step()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(net.state_dict(), path)
    return net.eval()
