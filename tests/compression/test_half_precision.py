"""Training in float16, as on GPUs without bfloat16: losses are scaled, and an overflow costs one step."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from test_recovery import CPU, Bench, Never, assert_same, distance_to
from torch import nn

from autocompress.compression import optimizers, precision
from autocompress.compression.optimizers import CLIP_NORM, descend, make_optimizer, make_scaler
from autocompress.compression.precision import autocast_context
from autocompress.compression.recovered import read_checkpoint
from autocompress.spaces.spec import Recovery, StudentSpec


@pytest.fixture
def half(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this CPU train in float16, which it can, as a GPU without bfloat16 does."""
    for module in (precision, optimizers):
        monkeypatch.setattr(module, "training_dtype", lambda device: torch.float16)


def test_float16_is_used_only_where_losses_are_scaled(half: None) -> None:
    layer, inputs = nn.Linear(4, 4), torch.randn(2, 4)
    with autocast_context(CPU, scaled=True):
        assert layer(inputs).dtype == torch.float16
    with autocast_context(CPU):
        assert layer(inputs).dtype == torch.float32
    with autocast_context(CPU, precise=True, scaled=True):
        assert layer(inputs).dtype == torch.float32
    assert make_scaler(CPU, precise=False).is_enabled() and not make_scaler(CPU, precise=True).is_enabled()


def test_a_student_is_taught_in_float16_rung_by_rung(half: None, tmp_path: Path) -> None:
    bench = Bench(epochs=4)
    recovery = Recovery(2.0, 1.0, 0.02, quantization_aware=True)
    spec = StudentSpec(bench.spec.channels, {"layer2.0.conv1": 8}, recovery=recovery)
    straight, parted = bench.student(spec), bench.student(spec)
    before = distance_to(bench.model, straight.module, bench.data)
    bench.recoverer.recover(straight, spec, 1, tmp_path / "straight.pt", Never)
    assert distance_to(bench.model, straight.module, bench.data) < before
    bench.recoverer.recover(parted, spec, 0, tmp_path / "parted.pt", Never)
    state = read_checkpoint(tmp_path / "parted.pt")
    assert state is not None and state["scaler"]["scale"] > 0
    later = bench.student(spec)
    bench.recoverer.recover(later, spec, 1, tmp_path / "parted.pt", Never)
    assert_same(later.module, straight.module)


def test_an_overflow_moves_nothing_and_lowers_the_scale() -> None:
    net = nn.Linear(4, 4)
    before, scaler = copy.deepcopy(net.state_dict()), torch.amp.GradScaler("cpu")
    optimizer = make_optimizer(Recovery(), list(net.parameters()), 0.0)
    optimizer.param_groups[0]["lr"] = 0.1
    descend(net(torch.ones(1, 4)).sum() * 1e38, optimizer, scaler, list(net.parameters()))
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert scaler.get_scale() == 2.0**15
    descend(net(torch.ones(1, 4)).sum(), optimizer, scaler, list(net.parameters()))
    assert not torch.equal(net.weight, before["weight"])


def test_gradients_are_clipped_by_their_own_size_not_the_scaled_one() -> None:
    steps = []
    for scaler in (torch.amp.GradScaler("cpu", enabled=False), torch.amp.GradScaler("cpu")):
        torch.manual_seed(0)
        net = nn.Linear(4, 4)
        start = net.weight.detach().clone()
        optimizer = make_optimizer(Recovery(), list(net.parameters()), 0.0)
        for group in optimizer.param_groups:
            group["lr"] = 0.1
        descend(0.01 * net(torch.ones(1, 4)).sum(), optimizer, scaler, list(net.parameters()))
        steps.append(net.weight.detach() - start)
    assert float(steps[0].norm()) < 0.1 * CLIP_NORM
    torch.testing.assert_close(steps[0], steps[1])
