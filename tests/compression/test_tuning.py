"""Training few weights: what is not trained stands still, and what comes out is a student like any other."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from test_recovery import Bench, Never
from torch import Tensor, nn

from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.losses import CLASSIFICATION
from autocompress.compression.memory import StepBytes, StepMeter
from autocompress.compression.norms import norms_of
from autocompress.compression.recover import Stopped
from autocompress.compression.recovered import load_recovered, read_checkpoint
from autocompress.compression.student import Student
from autocompress.compression.tuning import Tuning, adaptable
from autocompress.spaces.spec import WITH_UPDATES, Recovery, StudentSpec

WAYS = ("classifier", "bitfit", "lora", "qlora")


def bench_of(way: str, optimizer: str = "sgd", rungs: tuple[float, ...] = (0.4, 1.0)) -> Bench:
    """A small bench with channels, bits and patterns, whose students are taught in this way."""
    bench = Bench(rungs=rungs)
    assert bench.spec.recovery is not None
    bench.spec = replace(bench.spec, recovery=replace(bench.spec.recovery, tune=way, rank=1, optimizer=optimizer))
    return bench


def weights_of(module: nn.Module) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in module.state_dict().items()}


def taught(bench: Bench, path: Path, rung: int = 1, meter: StepMeter | None = None) -> Student:
    student = bench.student()
    bench.recoverer.recover(student, bench.spec, rung, path, Never, meter)
    return student


def assert_identical(a: nn.Module, b: nn.Module) -> None:
    first, second = a.state_dict(), b.state_dict()
    assert first.keys() == second.keys()
    assert [name for name, value in first.items() if not torch.equal(value, second[name])] == []


@pytest.mark.parametrize("way", WAYS)
def test_what_is_not_trained_stands_still_bit_by_bit(way: str, tmp_path: Path) -> None:
    bench = bench_of(way)
    start = bench.student()
    before = weights_of(start.module)
    if way == "qlora":
        adapted = Tuning(start, Recovery(tune="qlora", rank=1), "linear")
        assert all(adapted.plain_state()[n].shape == before[n].shape for n in before)
        rounded = {n: v for n, v in adapted.plain_state().items() if not torch.equal(v, before[n])}
        assert rounded and all(
            torch.allclose(v, before[n], atol=float(before[n].abs().max()) / 250) for n, v in rounded.items()
        )
        before |= rounded
    taught(bench, tmp_path / "c.pt", rung=0)
    state = read_checkpoint(tmp_path / "c.pt")
    assert state is not None
    parameters = dict(bench.student().module.named_parameters())
    changed = {name for name in parameters if not torch.equal(state["module"][name], before[name])}
    flat = {name for name, parameter in parameters.items() if parameter.ndim <= 1}
    last = {"linear.weight", "linear.bias"}
    assert changed == (last if way == "classifier" else flat | last)
    assert bool(state["updates"]) == (way in WITH_UPDATES), "the rest is kept beside the weights"


@pytest.mark.parametrize("way", WAYS)
def test_the_end_of_a_training_is_a_student_like_any_other(way: str, tmp_path: Path) -> None:
    bench = bench_of(way)
    before, student = weights_of(bench.student().module), taught(bench, tmp_path / "c.pt")
    state = read_checkpoint(tmp_path / "c.pt")
    assert state is not None and set(state) == {"module", "optimizer", "ranges", "step"}
    again = bench.student()
    load_recovered(again, bench.spec, tmp_path / "c.pt")
    assert_identical(again.module, student.module)
    assert all(p.requires_grad for p in student.module.parameters())
    assert not any("forward" in vars(part) for part in student.module.modules())
    for name, mask in student.masks.items():
        weight = student.module.get_submodule(name).weight
        assert isinstance(weight, Tensor) and bool((weight[mask == 0] == 0).all())
    if way == "lora":
        assert not torch.equal(before["layer2.0.conv1.weight"], student.module.state_dict()["layer2.0.conv1.weight"])
        held = student.masks["layer1.0.conv1"] == 0
        assert bool(held.any()), "and there were zeros that an update would fill"


@pytest.mark.parametrize(
    ("way", "optimizer"), [("classifier", "sgd"), ("bitfit", "sgd"), ("lora", "adamw"), ("qlora", "sgd")]
)
def test_a_training_of_few_weights_goes_on_where_it_was(way: str, optimizer: str, tmp_path: Path) -> None:
    bench = bench_of(way, optimizer)
    straight = taught(bench, tmp_path / "straight.pt")
    first = taught(bench, tmp_path / "rungs.pt", rung=0)
    seen = weights_of(first.module)
    again = taught(bench, tmp_path / "rungs.pt", rung=0)  # its look was lost
    assert all(torch.equal(value, seen[name]) for name, value in again.module.state_dict().items())
    assert_identical(taught(bench, tmp_path / "rungs.pt").module, straight.module)
    assert_identical(taught(bench, tmp_path / "rungs.pt").module, straight.module)
    for slices in (0, 1, 7):
        path, calls = tmp_path / f"{slices}.pt", itertools.count()
        with pytest.raises(Stopped):
            bench.recoverer.recover(bench.student(), bench.spec, 1, path, lambda: next(calls) >= slices)  # noqa: B023
        assert_identical(taught(bench, path).module, straight.module)


def test_a_checkpoint_of_an_earlier_version_goes_on(tmp_path: Path) -> None:
    bench = bench_of("full")
    straight = taught(bench, tmp_path / "straight.pt")
    taught(bench, tmp_path / "c.pt", rung=0)
    state = read_checkpoint(tmp_path / "c.pt")
    assert state is not None
    torch.save({name: state[name] for name in ("module", "optimizer", "ranges", "step")}, tmp_path / "c.pt")
    assert_identical(taught(bench, tmp_path / "c.pt").module, straight.module)


@pytest.mark.parametrize("bits", [{}, {"layer2.0.conv1": 8, "linear": 4, "layer3.0.conv2": 4}], ids=["32", "low"])
@pytest.mark.parametrize("way", WITH_UPDATES)
def test_merged_updates_answer_as_they_did_beside_the_weights(bits: dict[str, int], way: str) -> None:
    bench = bench_of(way)
    student = bench.student()
    student.module.double().eval()
    tuning = Tuning(student, Recovery(tune=way, rank=1), "linear")
    state = tuning.state()
    tuning.load({n: v + 0.1 * torch.randn_like(v) if n.endswith((".up", ".down")) else v for n, v in state.items()})
    inputs = bench.data.inputs(slice(0, 8)).double()
    fake = FakeQuantizer(student.module, bits, tuning.weight)
    plain = bench.student()
    plain.module.double().eval()
    with torch.no_grad():
        fake.switch_on()
        apart = student.module(inputs)
        fake.switch_off()
        unquantized = student.module(inputs)
        tuning.merge()
        merged = student.module(inputs)
        fake.switch_on()
        merged_low = student.module(inputs)
        fake.switch_off()
    assert not torch.allclose(merged, plain.module(inputs), rtol=1e-2), "the updates do something"
    torch.testing.assert_close(merged, unquantized, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(merged_low, apart, rtol=1e-6, atol=1e-6)


class Tied(nn.Module):
    """A network whose last layer has the weight of its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.inner = nn.Embedding(40, 16), nn.Linear(16, 16)
        self.last = nn.Linear(16, 40)
        self.last.weight = self.embed.weight

    def forward(self, tokens: Tensor) -> Tensor:
        found: Tensor = self.last(self.inner(self.embed(tokens)).relu())
        return found


def test_a_weight_that_an_embedding_reads_too_has_no_update() -> None:
    net = Tied()
    assert set(adaptable(net)) == {"inner"}
    tuning = Tuning(Student(net, {}, {}), Recovery(tune="lora", rank=2), "inner")
    tokens = torch.arange(12).view(3, 4)
    before = net(tokens)
    tuning.merge()
    torch.testing.assert_close(net(tokens), before)


def test_small_weights_are_trained_whole() -> None:
    """An update of rank 8 of a depthwise convolution would be larger than the convolution."""
    net = nn.Sequential(nn.Conv2d(3, 32, 1), nn.Conv2d(32, 32, 3, groups=32), nn.Flatten(), nn.Linear(32, 10))
    tuning = Tuning(Student(net, {}, {}), Recovery(tune="lora", rank=1), None)
    assert {name.rpartition(".")[0] for name in tuning.state()} == {"0", "1"}
    tuning = Tuning(Student(net, {}, {}), Recovery(tune="lora", rank=8), None)
    assert not tuning.state() and all(p.requires_grad for p in net.parameters())


def test_norms_of_a_body_that_stands_still_are_settled_once(tmp_path: Path) -> None:
    bench = bench_of("classifier")
    stale = weights_of(bench.student().module)
    first = weights_of(taught(bench, tmp_path / "c.pt", rung=0).module)
    last = weights_of(taught(bench, tmp_path / "c.pt").module)
    names = [name for name in stale if name.endswith("running_mean")]
    assert names and len(names) == len(norms_of(bench.student().module))
    assert not any(torch.equal(stale[name], first[name]) for name in names)
    assert all(torch.equal(first[name], last[name]) for name in names)


def test_training_few_weights_takes_less_memory(tmp_path: Path) -> None:
    found: dict[str, StepBytes] = {}
    for way in ("full", *WAYS):
        bench = bench_of(way, "adamw")
        spec = replace(bench.spec, bits={}, patterns={}, channels={})
        bench.spec = replace(spec, recovery=replace(spec.recovery or Recovery(), quantization_aware=False))
        # in float32, where a layer keeps no other copy of its weight
        bench.recoverer = replace(bench.recoverer, losses=replace(CLASSIFICATION, precise=True))
        meter = StepMeter()
        taught(bench, tmp_path / f"{way}.pt", meter=meter)
        assert meter.largest is not None
        found[way] = meter.largest
    module = bench.student(StudentSpec()).module
    full, parameters = found["full"], sum(p.nbytes for p in module.parameters())
    assert full.weights == parameters + sum(b.nbytes for b in module.buffers())
    assert full.gradients == parameters
    assert full.optimizer >= 2 * parameters, "two moments for each weight"
    for way in WAYS:
        assert found[way].optimizer < full.optimizer / 2 and found[way].gradients < full.gradients / 2
        assert found[way].total < full.total
    assert found["classifier"].activations < found["bitfit"].activations <= full.activations
    # the sums of weights and updates are made again in the backward pass
    assert found["lora"].activations < full.activations + parameters / 10
    assert found["qlora"].activations < full.activations + parameters / 10
    assert found["qlora"].weights < full.weights / 2
    assert found["classifier"].total < found["bitfit"].total


def test_a_step_on_a_network_holds_what_can_be_counted_by_hand() -> None:
    net = nn.Sequential(nn.Linear(8, 16, bias=False), nn.Linear(16, 4, bias=False))
    optimizer = torch.optim.SGD(net.parameters(), 0.1, momentum=0.9)
    meter, inputs = StepMeter(), torch.randn(32, 8)
    with meter.watching(list(net.parameters()), list(net.parameters()), optimizer):
        net(inputs).sum().backward()
        optimizer.step()
    weights = 4 * (8 * 16 + 16 * 4)
    assert meter.largest == StepBytes(weights, weights, weights, activations=4 * 32 * (8 + 16))
