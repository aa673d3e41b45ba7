"""The first look: norms know their own activations, nothing of the validation split leaks, training can follow."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import nets
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.distill import Lessons
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import LOOK_IMAGES, NORM_INPUTS, first_look, outputs_with_bits
from autocompress.compression.recover import Recoverer
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import Student
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


def top1(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(1) == labels).float().mean())


def look(
    student: Student, spec: StudentSpec, calibration: Tensor, data: ImageData, metric: Callable[[Tensor, Tensor], float]
) -> float:
    return first_look(student, FakeQuantizer(student.module, spec.bits), calibration, data, metric, CPU)


def data_of(net: nets.Net, count: int) -> ImageData:
    return ImageData(net.inputs(count), torch.arange(count) % 10)


def small_student(net: nets.Net, bits: bool = True) -> tuple[Student, StudentSpec]:
    spec = replace(net.spec(channels=0.5, bits=8 if bits else 32), recovery=Recovery())
    assert spec.channels and bool(spec.bits) == bits
    return net.student(spec), spec


def test_a_look_after_spoiled_statistics_is_as_good_as_before() -> None:
    # a wide shift of what the norms saw makes the student useless, though its weights are still right
    net = nets.net("digits")
    inputs = net.inputs(400)
    with torch.no_grad():
        data = ImageData(inputs[200:], net.model(inputs[200:]).argmax(1))
    spoiled = net.student()
    for norm in (m for m in spoiled.module.modules() if isinstance(m, nn.BatchNorm2d)):
        norm.running_mean.add_(3.0)
    rows = torch.arange(200)
    stale = top1(
        outputs_with_bits(spoiled.module, FakeQuantizer(spoiled.module, {}), inputs, data, rows, CPU), data.labels
    )
    clean = net.student()
    expected = look(clean, StudentSpec(), inputs[:200], data, top1)
    assert look(spoiled, StudentSpec(), inputs[:200], data, top1) == pytest.approx(expected)
    assert stale < expected


@pytest.mark.parametrize("name", nets.SMALL)
def test_the_validation_split_sets_no_statistics_and_no_ranges(name: str) -> None:
    net = nets.net(name)
    calibration, found = net.inputs(40), []
    for data in (data_of(net, 30), ImageData(100 * net.inputs(30), torch.zeros(30, dtype=torch.int64))):
        student, spec = small_student(net)
        look(student, spec, calibration, data, top1)
        found.append({k: v.clone() for k, v in student.module.state_dict().items()})
    assert all(torch.equal(value, found[1][key]) for key, value in found[0].items())
    student, spec = small_student(net)
    fake = FakeQuantizer(student.module, spec.bits)
    outputs_with_bits(student.module, fake, calibration, data_of(net, 30), torch.arange(30), CPU)
    ranges = {key: value.clone() for key, value in fake.ranges.items()}
    fake = FakeQuantizer(student.module, spec.bits)
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
        student, spec = small_student(net, bits)
        assert look(student, spec, net.inputs(60), data, metric) == 0.5
    assert not torch.equal(*outputs)
    again, spec = small_student(net)
    look(again, spec, net.inputs(60), data, metric)
    assert torch.equal(outputs[1], outputs[2]), "the same twice"


def test_no_more_inputs_than_said_are_looked_at() -> None:
    net = nets.net("flatten")
    seen: list[int] = []
    student, _ = small_student(net)
    student.module.register_forward_hook(lambda _m, inputs, _o: seen.append(len(inputs[0])))
    data = ImageData(torch.zeros(LOOK_IMAGES + 500, 3, 16, 16), torch.arange(LOOK_IMAGES + 500))
    counted: list[int] = []
    look(student, StudentSpec(), net.inputs(NORM_INPUTS + 100), data, lambda _o, y: counted.extend(y.tolist()) or 1.0)
    assert len(set(counted)) == len(counted) == LOOK_IMAGES
    assert sum(seen) == LOOK_IMAGES + NORM_INPUTS + 2, "and twice one, to see how large its values are"


def test_a_student_can_be_trained_after_a_look(tmp_path: Path) -> None:
    net = nets.net("digits")
    data = data_of(net, 64)
    ends = []
    for looked in (False, True):
        student, spec = small_student(net)
        if looked:
            look(student, spec, net.inputs(40), data, top1)
            assert not student.module.training
            assert not any("forward" in vars(m) for m in student.module.modules()), "fake quantization is off"
        schedule = Schedule(1.0, (1.0,), batch_size=16)
        recoverer = Recoverer(data, Lessons(net.model, None, CPU), schedule, CPU, contextlib.nullcontext)
        recoverer.recover(student, spec, 0, tmp_path / f"{looked}.pt", lambda: False)
        ends.append(dict(student.module.named_parameters()))
    for key, value in ends[0].items():
        torch.testing.assert_close(value, ends[1][key], rtol=1e-4, atol=1e-5)
