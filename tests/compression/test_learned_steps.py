"""Learned step sizes: they begin as grids are, learn what is better, and stay with the weights."""

from __future__ import annotations

import contextlib
import itertools
from pathlib import Path

import nets
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.compression.distill import Lessons
from autocompress.compression.edits import Parent
from autocompress.compression.fake_quant import FakeQuantizer, fake_quantized_weight
from autocompress.compression.learned_steps import LearnedSteps
from autocompress.compression.recover import Recoverer, Stopped
from autocompress.compression.recovered import read_checkpoint, read_weights
from autocompress.compression.schedule import Schedule
from autocompress.compression.student import make_student
from autocompress.spaces.spec import Recovery, StudentSpec
from autocompress.studies.data.images import ImageData

CPU = torch.device("cpu")
BITS = {"conv2": 8, "linear1": 4, "linear2": 8}
SPEC = StudentSpec(bits=BITS, recovery=Recovery(quantization_aware=True, learned_steps=True))
PARENT = Parent(nets.net("flatten").model, nets.net("flatten").context.groups)


def recoverer(rungs: tuple[float, ...] = (1.0,)) -> Recoverer:
    images = torch.randn(40, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    data = ImageData(images, torch.arange(40) % 10)
    lessons = Lessons(PARENT.module, "linear2", CPU)
    return Recoverer(data, lessons, Schedule(4.0, rungs, batch_size=8), CPU, contextlib.nullcontext)


def drawn(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@given(st.integers(0, 1000), st.sampled_from([4, 8]))
def test_a_grid_begins_as_it_is_without_learning(seed: int, width: int) -> None:
    weight, steps = drawn(seed, 6, 5, 3, 3), LearnedSteps()
    torch.testing.assert_close(steps.weight("layer", weight, width), fake_quantized_weight(weight, width))
    inputs = drawn(seed + 1, 4, 7).relu()
    seen = torch.stack([inputs.min().clamp(max=0), inputs.max()])
    found, ends = steps.inputs("layer", inputs, seen)
    torch.testing.assert_close(ends, seen)
    assert float((found - inputs).detach().abs().max()) <= float(seen[1] - seen[0]) / 255 * 0.51
    assert torch.equal(found[inputs == 0], inputs[inputs == 0]), "zero stays zero"


@given(st.integers(0, 1000))
def test_the_gradient_of_an_end_is_that_of_the_source(seed: int) -> None:
    steps, top = LearnedSteps(), 7
    weight = drawn(seed, 3, 20)
    steps.weight("layer", weight, 4)
    (optimizer,) = steps.optimizers(1.0)
    (logs,) = optimizer.param_groups[0]["params"]
    with torch.no_grad():
        logs.fill_(-0.7)  # so that the largest weights lie beyond their ends
    upstream = drawn(seed + 1, 3, 20)
    (steps.weight("layer", weight, 4) * upstream).sum().backward()
    ends = weight.abs().amax(1) * torch.tensor(-0.7).exp()
    ratio = weight / (ends / top)[:, None]
    by_step = torch.where(ratio.abs() < top, ratio.round() - ratio, ratio.sign() * top)
    torch.testing.assert_close(logs.grad, (upstream * by_step).sum(1) * ends / top, rtol=1e-4, atol=1e-4)


def test_cut_weights_have_the_learned_grid_for_whoever_takes_the_largest_for_its_end() -> None:
    module, steps = nn.Sequential(nn.Linear(32, 8), nn.ReLU(), nn.Linear(32, 8)), LearnedSteps()
    weight = module[0].weight
    steps.weight("0", weight, 4)
    (optimizer,) = steps.optimizers(1.0)
    with torch.no_grad():
        optimizer.param_groups[0]["params"][0].fill_(-0.3)
        learned = steps.weight("0", weight, 4)
    before = module[2].weight.detach().clone()
    steps.cut(module)
    torch.testing.assert_close(fake_quantized_weight(weight.detach(), 4), learned)
    assert torch.equal(module[2].weight, before), "layers of full precision are as they were"


def test_an_end_that_outliers_set_is_learned_away() -> None:
    weight = drawn(0, 4, 64)
    weight[:, 0] = 12.0
    wanted = weight.clone()
    wanted[:, 0] = 0.0  # what the outliers are for matters to nobody
    steps = LearnedSteps()

    def error() -> Tensor:
        return ((steps.weight("layer", weight, 4) - wanted)[:, 1:] ** 2).mean()

    first = float(error())
    for _ in range(400):
        (optimizer,) = steps.optimizers(1.0)
        optimizer.zero_grad()
        error().backward()
        optimizer.step()
    assert float(error()) < 0.3 * first


def test_a_training_learns_ends_hands_them_over_and_keeps_nothing_beside_the_weights(tmp_path: Path) -> None:
    teach, path = recoverer((0.5, 1.0)), tmp_path / "c.pt"
    teach.recover(make_student(PARENT, SPEC), SPEC, 0, path, lambda: False)
    teach.recover(make_student(PARENT, SPEC), SPEC, 1, path, lambda: False)
    state = read_checkpoint(path)
    assert state is not None and "steps" not in state and set(state["ranges"]) == {"conv2", "linear2"}
    weights = read_weights(path)
    for name, width in BITS.items():
        weight = weights[f"{name}.weight"]
        top = 2 ** (width - 1) - 1
        codes = fake_quantized_weight(weight, width) / (weight.abs().flatten(1).amax(1) / top).view(
            -1, 1, *[1] * (weight.ndim - 2)
        )
        assert float(codes.abs().max()) == pytest.approx(top)


@pytest.mark.parametrize("stops", [3, 11, 13, 17])
def test_a_stopped_training_goes_on_as_if_it_had_not_been(tmp_path: Path, stops: int) -> None:
    teach = recoverer()
    teach.recover(make_student(PARENT, SPEC), SPEC, 0, tmp_path / "straight.pt", lambda: False)
    asked = itertools.count()
    with pytest.raises(Stopped):
        teach.recover(make_student(PARENT, SPEC), SPEC, 0, tmp_path / "c.pt", lambda: next(asked) >= stops)
    teach.recover(make_student(PARENT, SPEC), SPEC, 0, tmp_path / "c.pt", lambda: False)
    one, other = read_weights(tmp_path / "straight.pt"), read_weights(tmp_path / "c.pt")
    assert all(torch.equal(value, other[name]) for name, value in one.items())


def test_the_quantizer_computes_with_learned_ends_and_without_them_as_ever() -> None:
    layer = nn.Sequential(nn.Linear(16, 4))
    inputs = drawn(3, 5, 16)
    plain, steps = FakeQuantizer(layer, {"0": 8}), LearnedSteps()
    learned = FakeQuantizer(layer, {"0": 8}, steps=steps)
    answers = []
    for fake in (plain, learned):
        fake.switch_on()
        layer.train()
        layer(inputs)
        answers.append(layer(inputs))
        fake.switch_off()
    torch.testing.assert_close(answers[1], answers[0], rtol=0, atol=0.05)
    assert len(steps.optimizers(1.0)) == 2, "of its weights and of its inputs"
    assert SPEC.recovery != Recovery(quantization_aware=True)
    assert "learned_steps" not in Recovery(quantization_aware=True).parts(), "keys of others stay what they were"


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_end_of_inputs_that_began_at_zero_is_learned_too(sign: float) -> None:
    """The first batch had inputs of one sign alone; those of the other one matter later, and then they do not."""
    inputs = sign * drawn(0, 400)
    seen = torch.stack([inputs.min().clamp(max=0), inputs.max().clamp(min=0)])
    seen[0 if sign > 0 else 1] = 0.0
    steps = LearnedSteps()

    def learn(wanted: Tensor) -> Tensor:
        for _ in range(600):
            found, ends = steps.inputs("layer", inputs, seen)
            (optimizer,) = steps.optimizers(1.0)
            optimizer.zero_grad()
            ((found - wanted) ** 2).mean().backward()
            optimizer.step()
        assert float(ends[0]) <= 0 <= float(ends[1])
        return ends

    low, high = learn(inputs)
    assert float(low) < -1.5 and float(high) > 1.5
    one_sided = inputs.clamp(min=0) if sign > 0 else inputs.clamp(max=0)
    low, high = learn(one_sided)
    assert abs(float(low if sign > 0 else high)) < 0.3


@pytest.mark.parametrize("way", ["classifier", "bitfit", "lora"])
def test_weights_that_stand_still_are_not_cut(tmp_path: Path, way: str) -> None:
    recovery = Recovery(quantization_aware=True, learned_steps=True, tune=way, rank=2, learning_rate=0.2)
    spec = StudentSpec(bits=BITS, recovery=recovery)
    recoverer().recover(make_student(PARENT, spec), spec, 0, tmp_path / "c.pt", lambda: False)
    before, after = make_student(PARENT, spec).module.state_dict(), read_weights(tmp_path / "c.pt")
    still = {name for name in BITS if torch.equal(before[f"{name}.weight"], after[f"{name}.weight"])}
    assert still == (set() if way == "lora" else {"conv2", "linear1"})
