"""The first look: norms know their own activations, nothing of the validation split leaks, training can follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.distill import Lessons
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import (
    LOOK_IMAGES,
    NORM_INPUTS,
    first_look,
    outputs_with_bits,
    reestimate_norms,
)
from autocompress.compression.recover import Recoverer, Schedule
from autocompress.compression.student import Student, make_student
from autocompress.spaces.plan import Plan, Recovery
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


def top1(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).float().mean())


def look(
    student: Student, plan: Plan, calibration: Tensor, data: ImageData, metric: Callable[[Tensor, Tensor], float]
) -> float:
    return first_look(student, FakeQuantizer(student.module, plan.bits), calibration, data, metric, CPU)


def data_of(net: nets.Net, count: int) -> ImageData:
    return ImageData(net.inputs(count), torch.arange(count) % 10)


def small_student(net: nets.Net, bits: bool = True) -> tuple[Student, Plan]:
    plan = net.space.uniform(0.5, 8 if bits else 32, Recovery())
    return make_student(net.model, net.ground.groups, plan), plan


def test_statistics_are_the_plain_mean_over_batches() -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5), nn.ReLU(), nn.BatchNorm2d(5), nn.Dropout(0.9)).eval()
    inputs = 3 + 2 * torch.randn(12, 3, 6, 6)
    reestimate_norms(module, inputs, 4)
    means, variances, seen = [], [], []
    with torch.no_grad():
        for part in inputs.split(4):
            maps = module[0](part)
            means.append(maps.mean((0, 2, 3)))
            variances.append(maps.transpose(0, 1).flatten(1).var(1))
            normal = (maps - means[-1][:, None, None]) / (maps.var((0, 2, 3), correction=0) + 1e-5).sqrt()[
                :, None, None
            ]
            seen.append(normal.relu().mean((0, 2, 3)))
    torch.testing.assert_close(module[1].running_mean, torch.stack(means).mean(0))
    torch.testing.assert_close(module[1].running_var, torch.stack(variances).mean(0))
    torch.testing.assert_close(module[3].running_mean, torch.stack(seen).mean(0))


@pytest.mark.parametrize("count", [2, 7, 64])
def test_nothing_but_statistics_changes(count: int) -> None:
    net = nets.net("digits")
    module = make_student(net.model, net.ground.groups, Plan()).module
    module.layer1.train()
    weights = {key: value.clone() for key, value in module.named_parameters()}
    training = [(m.training, getattr(m, "momentum", None)) for m in module.modules()]
    before = module.bn1.running_mean.clone()
    reestimate_norms(module, 5 + net.inputs(count), 16)
    assert not torch.equal(module.bn1.running_mean, before)
    assert all(torch.equal(value, weights[key]) for key, value in module.named_parameters())
    assert [(m.training, getattr(m, "momentum", None)) for m in module.modules()] == training


@pytest.mark.parametrize("count", [0, 1])
def test_too_few_inputs_change_nothing(count: int) -> None:
    net = nets.net("digits")
    module = make_student(net.model, net.ground.groups, Plan()).module
    reestimate_norms(module, net.inputs(count), 16)
    assert all(torch.equal(v, net.model.state_dict()[k]) for k, v in module.state_dict().items())


def test_norms_without_statistics_and_networks_without_norms_are_left_alone() -> None:
    module = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.GroupNorm(2, 4))
    asked: list[Tensor] = []
    module.register_forward_hook(lambda *_: asked.append(torch.empty(0)))
    reestimate_norms(module, torch.randn(8, 3, 6, 6), 4)
    assert not asked


def test_a_look_after_spoiled_statistics_is_as_good_as_before() -> None:
    # a wide shift of what the norms saw makes the student useless, though its weights are still right
    net = nets.net("digits")
    inputs = net.inputs(400)
    with torch.no_grad():
        data = ImageData(inputs[200:], net.model(inputs[200:]).argmax(1))
    spoiled = make_student(net.model, net.ground.groups, Plan())
    for norm in (m for m in spoiled.module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.add_(3.0)
    rows = torch.arange(200)
    stale = top1(
        outputs_with_bits(spoiled.module, FakeQuantizer(spoiled.module, {}), inputs, data, rows, CPU), data.labels
    )
    clean = make_student(net.model, net.ground.groups, Plan())
    expected = look(clean, Plan(), inputs[:200], data, top1)
    assert look(spoiled, Plan(), inputs[:200], data, top1) == pytest.approx(expected)
    assert stale < expected


@pytest.mark.parametrize("name", nets.SMALL)
def test_the_validation_split_sets_no_statistics_and_no_ranges(name: str) -> None:
    net = nets.net(name)
    calibration, found = net.inputs(40), []
    for data in (data_of(net, 30), ImageData(100 * net.inputs(30), torch.zeros(30, dtype=torch.int64))):
        student, plan = small_student(net)
        look(student, plan, calibration, data, top1)
        found.append({k: v.clone() for k, v in student.module.state_dict().items()})
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())
    student, plan = small_student(net)
    fake = FakeQuantizer(student.module, plan.bits)
    outputs_with_bits(student.module, fake, calibration, data_of(net, 30), torch.arange(30), CPU)
    ranges = {key: value.clone() for key, value in fake.ranges.items()}
    fake = FakeQuantizer(student.module, plan.bits)
    outputs_with_bits(
        student.module, fake, calibration, ImageData(100 * net.inputs(9), torch.zeros(9).long()), torch.arange(9), CPU
    )
    assert ranges and all(torch.equal(value, ranges[key]) for key, value in fake.ranges.items())


def test_bits_are_seen() -> None:
    net = nets.net("digits")
    data, outputs = data_of(net, 50), []

    def metric(got: Tensor, labels: Tensor) -> float:
        assert got.dtype == torch.float32 and got.shape == (50, 10) and len(labels) == 50
        outputs.append(got)
        return 0.5

    for bits in (False, True):
        student, plan = small_student(net, bits)
        assert look(student, plan, net.inputs(60), data, metric) == 0.5
    assert not torch.equal(*outputs)
    again, plan = small_student(net)
    look(again, plan, net.inputs(60), data, metric)
    assert torch.equal(outputs[1], outputs[2]), "the same twice"


def test_no_more_inputs_than_said_are_looked_at() -> None:
    net = nets.net("flatten")
    seen: list[int] = []
    student, _ = small_student(net)
    student.module.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    data = ImageData(torch.zeros(LOOK_IMAGES + 500, 3, 16, 16), torch.arange(LOOK_IMAGES + 500))
    counted: list[int] = []
    look(student, Plan(), net.inputs(NORM_INPUTS + 100), data, lambda _o, y: counted.extend(y.tolist()) or 1.0)
    assert len(set(counted)) == len(counted) == LOOK_IMAGES and sum(seen) == LOOK_IMAGES + NORM_INPUTS


def test_a_student_can_be_trained_after_a_look(tmp_path: Path) -> None:
    net = nets.net("digits")
    data = data_of(net, 64)
    ends = []
    for looked in (False, True):
        student, plan = small_student(net)
        if looked:
            look(student, plan, net.inputs(40), data, top1)
            assert not student.module.training
            assert not any("forward" in vars(m) for m in student.module.modules()), "fake quantization is off"
        schedule = Schedule(1.0, (1.0,), batch_size=16)
        recoverer = Recoverer(data, Lessons(net.model, None, CPU), schedule, CPU, contextlib.nullcontext)
        recoverer.recover(student, plan, 0, tmp_path / f"{looked}.pt", lambda: False)
        ends.append(dict(student.module.named_parameters()))
    for key, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][key], rtol=1e-4, atol=1e-5)
