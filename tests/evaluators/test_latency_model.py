"""The latency model: what it predicts of plans that were not measured, and how sure it says it is."""

from __future__ import annotations

import itertools
import json
from dataclasses import asdict, replace
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from nets import ALL, CAPABILITIES, SMALL, net
from torch import nn

from autocompress.compression.student import make_student
from autocompress.evaluators.latency import Calibration, LatencyMeter
from autocompress.evaluators.latency_model import UNKNOWN_ERROR, LatencyLearner, LatencyModel
from autocompress.evaluators.measurement import Latency
from autocompress.evaluators.runtimes.registry import get_runtime
from autocompress.search.evaluate.target_session import Station
from autocompress.search.executors.base import Workplace
from autocompress.search.prepare.latency_samples import learn_latency, probe_plans, samples, tail_ratio
from autocompress.spaces.axes.base import Ground
from autocompress.spaces.plan import Pattern, Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.surrogates import LatencyGuess
from autocompress.spaces.target import Target

Samples = list[tuple[Plan, float]]


def space(name: str) -> Space:
    return build_space(net(name).ground, ("width", "channels", "bits"))


def drawn(name: str, data: st.DataObject) -> Plan:
    sites = Sites(space(name))
    return sites.assemble([data.draw(st.integers(0, len(site.options) - 1)) for site in sites], Plan())


def latency_ms(ground: Ground, plan: Plan) -> float:
    """A made-up machine: int8 at a third of the time, converting between precisions and a start of every layer."""
    shapes = Shapes(ground).of(plan)
    work = shapes.macs * np.where(shapes.bits < 16, 0.3, 1.0) / 2e7
    maps = (shapes.reads + shapes.writes) / 5e6
    borders = np.where(shapes.bits[1:] != shapes.bits[:-1], shapes.reads[1:] / 1e6, 0)
    return float(work.sum() + maps.sum() + borders.sum() + 0.001 * len(work))


def measured(name: str, count: int, seed: int = 0) -> Samples:
    ground = net(name).ground
    return [(plan, latency_ms(ground, plan)) for plan in probe_plans(space(name), count, seed)]


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
@settings(max_examples=8)
def test_shapes_are_those_of_the_student(name: str, data: st.DataObject) -> None:
    found, plan = net(name), drawn(name, data)
    student = make_student(found.model, found.ground.groups, plan).module
    maps: dict[str, tuple[int, int]] = {}
    for layer in found.ground.layers:
        module = student.get_submodule(layer.name)

        def note(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor, name: str = layer.name) -> None:
            maps[name] = inputs[0].numel(), output.numel()

        module.register_forward_hook(note)
    with torch.no_grad():
        student(found.example)
    shapes = Shapes(found.ground).of(plan)
    for i, layer in enumerate(found.ground.layers):
        module = student.get_submodule(layer.name)
        sides = ("in_features", "out_features") if layer.kind == "linear" else ("in_channels", "out_channels")
        assert (shapes.inputs[i], shapes.outputs[i]) == tuple(getattr(module, side) for side in sides)
        assert shapes.weights[i] == module.weight.numel()
        assert shapes.macs[i] == module.weight.numel() * layer.area
        assert shapes.writes[i] == maps[layer.name][1]
        assert shapes.bits[i] == plan.bits.get(layer.name, 32)
        if name in ("cifar_resnet20", "concat", "grouped"):  # no pooling before a convolution, no stride in the first
            assert shapes.reads[i] == maps[layer.name][0]


def test_only_patterns_with_faster_kernels_count() -> None:
    ground = net("digits").ground
    layer = ground.layers[0].name
    faster, zeros = (Plan(patterns={layer: pattern}) for pattern in (Pattern("2:4", 0.5), Pattern("unstructured", 0.9)))
    assert Shapes(ground).of(faster).sparse.sum() == 1
    assert Shapes(ground).of(zeros).sparse.sum() == 0


@pytest.mark.parametrize("name", ["cifar_resnet20", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_plans_that_were_not_measured_are_predicted_and_ranked(name: str) -> None:
    known, others = measured(name, 24), measured(name, 40, seed=1)
    model = LatencyModel.fit(net(name).ground, known)
    guess: LatencyGuess = model  # what guides ask of it
    off = [abs(guess.predict_ms(plan) / ms - 1) for plan, ms in others]
    assert np.median(off) < 0.04
    assert model.samples == 24 and model.rank_correlation > 0.9
    assert 0 < model.relative_error < 0.06 and model.relative_error <= model.p90_error


def test_noise_of_measuring_is_told_as_error() -> None:
    noise = np.random.default_rng(0)
    known = [(plan, ms * float(np.exp(noise.normal(0, 0.1)))) for plan, ms in measured("cifar_resnet20", 48)]
    model = LatencyModel.fit(net("cifar_resnet20").ground, known)
    assert 0.04 < model.relative_error < 0.15


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("name", SMALL)
def test_few_samples_give_a_scale_at_least(name: str, count: int) -> None:
    ground = net(name).ground
    known = measured(name, count)
    model = LatencyModel.fit(ground, known)
    assert model.predict_ms(known[0][0]) == pytest.approx(known[0][1], rel=0.5)
    narrow = space(name).uniform(0.5, 32, None)
    assert 0 < model.predict_ms(narrow) < model.predict_ms(Plan())
    if count < 4:
        assert model.relative_error == UNKNOWN_ERROR and model.rank_correlation == 0


@given(factor=st.floats(1e-3, 1e3), count=st.integers(1, 20))
@settings(max_examples=10)
def test_a_machine_twice_as_slow_is_predicted_twice_as_slow(factor: float, count: int) -> None:
    ground, known = net("digits").ground, measured("digits", count)
    one = LatencyModel.fit(ground, known)
    other = LatencyModel.fit(ground, [(plan, ms * factor) for plan, ms in known])
    plan = space("digits").uniform(0.75, 8, None)
    assert other.predict_ms(plan) == pytest.approx(factor * one.predict_ms(plan), rel=1e-3)
    assert other.relative_error == pytest.approx(one.relative_error, abs=1e-3)


def test_without_a_sample_there_is_no_model() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        LatencyModel.fit(net("digits").ground, [])
    learner = LatencyLearner(net("digits").ground)
    assert learner.relative_error == UNKNOWN_ERROR
    with pytest.raises(ValueError, match="at least one sample"):
        learner.predict_ms(Plan())


def test_a_learner_fits_anew_when_it_knows_a_quarter_more() -> None:
    ground, known = net("cifar_resnet20").ground, measured("cifar_resnet20", 25)
    learner = LatencyLearner(ground, known[:20])
    guess: LatencyGuess = learner
    plan = space("cifar_resnet20").uniform(0.6, 8, None)
    first = guess.predict_ms(plan)
    assert first == LatencyModel.fit(ground, known[:20]).predict_ms(plan)
    for sample in known[20:24]:
        learner.add(*sample)
    assert learner.predict_ms(plan) == first and len(learner) == 24
    learner.add(*known[24])
    assert learner.predict_ms(plan) == LatencyModel.fit(ground, known).predict_ms(plan)
    assert learner.relative_error == learner.model.relative_error


def test_a_shape_measured_again_counts_once() -> None:
    learner = LatencyLearner(net("digits").ground, [(Plan(), 1.0), (Plan(), 2.0)])
    assert len(learner) == 1
    assert learner.predict_ms(Plan()) == pytest.approx(2.0)


@pytest.mark.parametrize("name", [*SMALL, "cifar_resnet20"])
def test_probing_plans_are_distinct_and_legal_and_cover_the_space(name: str) -> None:
    found, sites = space(name), Sites(space(name))
    plans = probe_plans(found, 16)
    assert len({plan.shape_key() for plan in plans}) == len(plans) == 16
    assert all(sites.assemble(sites.choices(plan), Plan()) == plan for plan in plans)
    assert plans[:8] == probe_plans(found, 8)
    for i, site in enumerate(sites):
        taken = {sites.choices(plan)[i] for plan in plans}
        assert {0, len(site.options) - 1} <= taken


def test_probing_plans_end_where_the_space_does() -> None:
    nothing = build_space(Ground(net("digits").ground.layers, (), replace(CAPABILITIES, latency_bits=(32,))), ("bits",))
    assert probe_plans(nothing, 10) == [Plan()]


def station(folder: Path) -> Station:
    calibration = Calibration(2.0, 1.9, 2.1, 2.0, 3, False, "this machine")
    meter = LatencyMeter(Target(), folder / "teacher.onnx", calibration)
    return Station(Target(), get_runtime("onnxruntime"), None, meter, folder)  # type: ignore[arg-type]


def test_only_what_compares_with_the_present_calibration_is_a_sample(tmp_path: Path) -> None:
    numbers = dict.fromkeys(("low_ms", "high_ms", "p90_ms", "p95_ms", "p99_ms", "mean_ms"), 1.0)
    numbers["p90_ms"] = 1.5
    ratios = {"ratio": 0.5, "ratio_low": 0.5, "ratio_high": 0.5, "load_ms": 1.0, "peak_memory_mb": None}
    latency = Latency(p50_ms=1.0, samples=1, warmup=1, processes=1, disturbed=False, **numbers, **ratios)
    plan, other = Plan(channels={"a": 8}), Plan(channels={"a": 16})
    (tmp_path / "latency").mkdir()
    for name, content in {
        "one": {"calibration": "this machine", "plan": plan.to_dict()},
        "two": {"calibration": "another machine", "plan": other.to_dict()},
        "three": {"calibration": "this machine"},
    }.items():
        (tmp_path / "latency" / f"{name}.json").write_text(json.dumps({"latency": asdict(latency), **content}))
    assert samples(station(tmp_path)) == [(Plan(), 2.0), (plan, 1.0)]
    assert tail_ratio(station(tmp_path), 50) == 1.0 and tail_ratio(station(tmp_path), 90) == 1.5
    assert tail_ratio(station(tmp_path / "new"), 90) == 1.0


@pytest.mark.slow
def test_a_study_learns_its_latency_and_does_not_measure_twice(workplace: Workplace) -> None:
    said: list[str] = []
    bench, asked = workplace.bench, itertools.count()
    models = learn_latency(bench, 600.0, said.append, lambda: next(asked) == 6)
    (name,) = models
    assert name == "onnxruntime" and models[name].samples >= 6
    assert len(said) == 1 and f"{models[name].samples} plans measured" in said[0]
    before = samples(bench.first)
    assert len(learn_latency(bench, 0.0)) == 1
    assert samples(bench.first) == before
    assert any(plan.bits for plan, _ in before) and any(plan.channels for plan, _ in before)
