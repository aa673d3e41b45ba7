"""A tape of a teacher's pass: later passes go on from where something changed."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from nets import net
from torch import Tensor, nn

from autocompress.compression.tape import Tape


class TwiceAndInPlace(nn.Module):
    """What a tape can trip over: changes in place, a module that runs twice, containers that give no tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.norm, self.relu = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True)
        self.shared, self.pair = nn.Conv2d(8, 8, 3, padding=1), Pair()
        self.block = nn.Sequential(nn.Conv2d(8, 8, 1), nn.BatchNorm2d(8), nn.ReLU(inplace=True))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = x.sub_(0.5)
        x = self.relu(self.norm(self.stem(x)))
        out = self.shared(F.relu_(self.shared(x)))
        out += x
        a, b = self.pair(out)
        out = self.block(a + b)
        out.mul_(2)
        return self.head((self.block(out) + out).mean((2, 3)))


class Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.left, self.right = nn.Conv2d(8, 8, 1), nn.Conv2d(8, 8, 1)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        return self.left(x), self.right(x)


@pytest.mark.parametrize("limit", [0, 20_000, 10**9])
def test_a_tape_gives_what_a_whole_pass_gives(limit: int) -> None:
    torch.manual_seed(0)
    model, inputs = TwiceAndInPlace().eval(), torch.randn(4, 3, 8, 8)
    tape, whole = Tape(limit), inputs.clone()
    for _ in range(2):
        with torch.no_grad():
            assert torch.equal(tape.record(model, inputs), model(inputs.clone()))
        for name, part in model.named_modules():
            changed = copy.deepcopy(model)
            for parameter in changed.get_submodule(name).parameters():
                parameter.data.mul_(1.5)
            with torch.no_grad():
                expected = changed(inputs.clone())
            first = min(tape.first[n] for n in tape.first if n == name or n.startswith(f"{name}."))
            assert torch.equal(tape.play(changed, inputs, first if name else 0), expected), name
            assert "forward" not in part.__dict__
    assert torch.equal(inputs, whole)


def test_a_tape_spares_what_came_before(monkeypatch: pytest.MonkeyPatch) -> None:
    model, inputs = net("cifar_resnet20").model, net("cifar_resnet20").inputs(2)
    tape = Tape(10**9)
    tape.record(model, inputs)
    convolved: list[nn.Module] = []
    monkeypatch.setattr(nn.Conv2d, "forward", lambda self, x: convolved.append(self))
    tape.play(model, inputs, tape.first["linear"])
    assert not convolved, "no layer in front of it is computed"
