"""Sequences of letters in which one letter is counted: an LSTM layer reads them, and a perceptron tells the count."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.utils.data import TensorDataset

from autocompress import Task

LETTERS, LENGTH, MOST = 12, 12, 3


class Counts(nn.Module):
    """Letters [N, T], read by two layers in both directions."""

    def __init__(self, kind: str = "LSTM") -> None:
        super().__init__()
        self.letters = nn.Embedding(LETTERS, 16)
        self.memory = getattr(nn, kind)(16, 48, 2, batch_first=True, bidirectional=True)
        self.inner, self.head = nn.Linear(96, 32), nn.Linear(32, MOST + 1)

    def forward(self, letters: Tensor) -> Tensor:
        return self.head(self.inner(self.memory(self.letters(letters))[0].mean(1)).relu())


def sequences(count: int, seed: int) -> TensorDataset:
    letters = torch.randint(0, LETTERS, (count, LENGTH), generator=torch.Generator().manual_seed(seed))
    return TensorDataset(letters, (letters < 2).sum(1).clamp(max=MOST))


def task(kind: str = "LSTM") -> Task:
    train, validation, test = sequences(1200, 0), sequences(400, 1), sequences(400, 2)
    letters, counts = train.tensors
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Counts(kind)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-3)
        for _ in range(6):
            for rows in torch.randperm(len(counts)).split(50):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(letters[rows]), counts[rows]).backward()
                optimizer.step()
    return Task(model.eval(), train, validation, test, name="counts")
