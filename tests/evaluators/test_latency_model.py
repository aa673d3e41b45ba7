"""The latency model: what it predicts of students that were not measured, and how sure it says it is."""

from __future__ import annotations

import functools
import itertools
import random
from collections.abc import Iterator
from dataclasses import replace

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from nets import ALL, SMALL, net, space_over
from synthetic_spaces import chain, surrogates_over
from torch import nn

from autocompress.evaluators.latency_features import Features
from autocompress.evaluators.latency_model import UNKNOWN_ERROR, LatencyLearner, LatencyModel
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec
from autocompress.spaces.surrogates import LatencySurrogate

Samples = list[tuple[StudentSpec, float]]


@functools.cache
def space(name: str) -> Space:
    return space_over(net(name).context, "channels", "bits")


def shape(name: str, plan: Plan) -> StudentSpec:
    return replace(space(name).spec(plan), recovery=None)


def alike(name: str, **options: object) -> StudentSpec:
    """The student that treats all variables of an axis alike."""
    return shape(name, space(name).uniform(options))


def drawn(name: str, data: st.DataObject) -> StudentSpec:
    indices = [data.draw(st.integers(0, len(variable.options) - 1)) for variable in space(name).network]
    return shape(name, space(name).assemble(indices, Plan()))


def students(name: str, seed: int) -> Iterator[StudentSpec]:
    """The teacher, then students spread over the space: each has a width of its own, and bits in some places."""
    yield StudentSpec()
    source = random.Random(seed)
    while True:
        width, narrow = source.random(), source.choice((0.0, 0.3, 0.7, 1.0))
        indices = []
        for variable in space(name).network:
            last = len(variable.options) - 1
            part = float(source.random() < narrow) if variable.axis == "bits" else source.gauss(width, 0.2)
            indices.append(round(min(1.0, max(0.0, part)) * last))
        yield shape(name, space(name).assemble(indices, Plan()))


def latency_ms(context: SpaceContext, spec: StudentSpec) -> float:
    """A made-up machine: int8 at a third of the time, converting between precisions and a start of every layer."""
    shapes = Shapes(context).of(spec)
    work = shapes.macs * np.where(shapes.bits < 16, 0.3, 1.0) / 2e7
    maps = (shapes.reads + shapes.writes) / 5e6
    borders = np.where(shapes.bits[1:] != shapes.bits[:-1], shapes.reads[1:] / 1e6, 0)
    return float(work.sum() + maps.sum() + borders.sum() + 0.001 * len(work))


@functools.cache
def measured(name: str, count: int, seed: int = 0) -> Samples:
    context, found = net(name).context, {}
    for spec in students(name, seed):
        found.setdefault(spec.shape_key(), spec)
        if len(found) == count:
            break
    return [(spec, latency_ms(context, spec)) for spec in found.values()]


@pytest.mark.parametrize("name", ALL)
@given(data=st.data())
@settings(max_examples=8)
def test_shapes_are_those_of_the_student(name: str, data: st.DataObject) -> None:
    found, spec = net(name), drawn(name, data)
    student = found.student(spec).module
    maps: dict[str, tuple[int, int]] = {}
    for layer in found.context.layers:
        module = student.get_submodule(layer.name)

        def note(_: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor, name: str = layer.name) -> None:
            maps[name] = inputs[0].numel(), output.numel()

        module.register_forward_hook(note)
    with torch.no_grad():
        student(found.example)
    shapes = Shapes(found.context).of(spec)
    for i, layer in enumerate(found.context.layers):
        module = student.get_submodule(layer.name)
        sides = ("in_features", "out_features") if layer.kind == "linear" else ("in_channels", "out_channels")
        assert (shapes.inputs[i], shapes.outputs[i]) == tuple(getattr(module, side) for side in sides)
        assert shapes.weights[i] == module.weight.numel()
        assert shapes.macs[i] == module.weight.numel() * layer.area
        assert shapes.writes[i] == maps[layer.name][1]
        assert shapes.bits[i] == spec.bits.get(layer.name, 32)
        if name in ("cifar_resnet20", "concat", "grouped"):  # no pooling before a convolution, no stride in the first
            assert shapes.reads[i] == maps[layer.name][0]


def test_only_patterns_with_faster_kernels_count() -> None:
    context = net("digits").context
    layer = context.layers[0].name
    faster, zeros = (StudentSpec(patterns={layer: p}) for p in (Pattern("2:4", 0.5), Pattern("unstructured", 0.9)))
    assert Shapes(context).of(faster).sparse.sum() == 1
    assert Shapes(context).of(zeros).sparse.sum() == 0


@pytest.mark.parametrize("name", ["cifar_resnet20", pytest.param("mobilenet_v2", marks=pytest.mark.slow)])
def test_students_that_were_not_measured_are_predicted_and_ranked(name: str) -> None:
    known, others = measured(name, 24), measured(name, 40, seed=1)
    model = LatencyModel.fit(net(name).context, known)
    guess: LatencySurrogate = model  # what solvers ask of it
    off = [abs(guess.predict_ms(spec) / ms - 1) for spec, ms in others]
    assert np.median(off) < 0.04
    assert model.samples == 24 and model.rank_correlation > 0.9
    assert 0 < model.relative_error < 0.06 and model.relative_error <= model.p90_error


def test_noise_of_measuring_is_told_as_error() -> None:
    noise = np.random.default_rng(0)
    known = [(spec, ms * float(np.exp(noise.normal(0, 0.1)))) for spec, ms in measured("cifar_resnet20", 48)]
    model = LatencyModel.fit(net("cifar_resnet20").context, known)
    assert 0.04 < model.relative_error < 0.15


@pytest.mark.parametrize("count", [1, 2, 3, 6])
@pytest.mark.parametrize("name", SMALL)
def test_few_samples_give_a_scale_at_least(name: str, count: int) -> None:
    context = net(name).context
    known = measured(name, count)
    model = LatencyModel.fit(context, known)
    assert model.predict_ms(known[0][0]) == pytest.approx(known[0][1], rel=0.5)
    assert 0 < model.predict_ms(alike(name, channels=0.5)) < model.predict_ms(StudentSpec())
    if count < 4:
        assert model.relative_error == UNKNOWN_ERROR and model.rank_correlation == 0


@given(factor=st.floats(1e-3, 1e3), count=st.integers(1, 20))
@settings(max_examples=10)
def test_a_machine_twice_as_slow_is_predicted_twice_as_slow(factor: float, count: int) -> None:
    context, known = net("digits").context, measured("digits", count)
    one = LatencyModel.fit(context, known)
    other = LatencyModel.fit(context, [(spec, ms * factor) for spec, ms in known])
    spec = alike("digits", channels=0.75, bits=8)
    assert other.predict_ms(spec) == pytest.approx(factor * one.predict_ms(spec), rel=1e-3)
    assert other.relative_error == pytest.approx(one.relative_error, abs=1e-3)


def test_without_a_sample_there_is_no_model() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        LatencyModel.fit(net("digits").context, [])
    learner = LatencyLearner(net("digits").context)
    assert learner.relative_error == UNKNOWN_ERROR
    with pytest.raises(ValueError, match="at least one sample"):
        learner.predict_ms(StudentSpec())


def test_a_learner_fits_anew_when_it_knows_a_quarter_more() -> None:
    context, known = net("cifar_resnet20").context, measured("cifar_resnet20", 25)
    learner = LatencyLearner(context, known[:20])
    guess: LatencySurrogate = learner
    spec = alike("cifar_resnet20", channels=0.6, bits=8)
    first = guess.predict_ms(spec)
    assert first == LatencyModel.fit(context, known[:20]).predict_ms(spec)
    for sample in known[20:24]:
        learner.add(*sample)
    assert learner.predict_ms(spec) == first and len(learner) == 24
    learner.add(*known[24])
    assert learner.predict_ms(spec) == LatencyModel.fit(context, known).predict_ms(spec)
    assert learner.relative_error == learner.model.relative_error


def test_a_shape_measured_again_counts_once() -> None:
    learner = LatencyLearner(net("digits").context, [(StudentSpec(), 1.0), (StudentSpec(), 2.0)])
    assert len(learner) == 1
    assert learner.predict_ms(StudentSpec()) == pytest.approx(2.0)


def test_what_layers_take_adds_up_to_the_network_and_follows_their_size() -> None:
    space = chain([32, 48, 32, 64, 10])
    surrogate = surrogates_over(space, 0).latency["here"]
    specs = [space.spec(space.uniform({"channels": width, "bits": bits})) for width in (1.0, 0.5) for bits in (32, 8)]
    model = LatencyModel.fit(space.context, [(spec, surrogate.predict_ms(spec)) for spec in specs])
    for spec in specs:
        assert sum(model.layer_ms(spec)) == pytest.approx(model.predict_ms(spec))
    whole = model.layer_ms(StudentSpec())
    macs = [layer.macs for layer in space.context.layers]
    assert whole.index(max(whole)) == macs.index(max(macs))
    assert whole.index(min(whole)) == macs.index(min(macs))


def test_ways_of_activations_and_adapters_tell_students_apart() -> None:
    """Students that differ in these alone have latencies of their own, and what one errs by is not the other's."""
    found = net("cifar_resnet20")
    context = replace(found.context, axes=("channels", "bits", "ranges"), ways=("full", "adapters"))
    features, layer = Features(context), context.layers[-1].name
    adapted = [StudentSpec(recovery=Recovery(tune="adapters", rank=rank)) for rank in (4, 8)]
    rounded = [StudentSpec(bits={layer: 8}, activations=way) for way in ({}, {layer: "dynamic"}, {layer: "float"})]
    fewer = replace(adapted[0], dropped=(context.blocks[0].name,))
    rows = [features.of(spec) for spec in (StudentSpec(), *adapted, fewer, *rounded)]
    for own, other in itertools.combinations(rows, 2):
        assert all(not np.allclose(mine, its) for mine, its in zip(own, other, strict=True))
    taught = features.of(StudentSpec(recovery=Recovery()))
    assert all(np.array_equal(mine, its) for mine, its in zip(rows[0], taught, strict=True))
    assert len(features.prior) == len(rows[0][0])
    plain = Features(replace(context, axes=("channels", "bits"), ways=("full",)))
    assert [len(part) for part in plain.of(adapted[0])] != [len(part) for part in rows[0]]


def test_what_adapters_cost_is_learned_from_a_few_that_were_timed() -> None:
    found = net("cifar_resnet20")
    context = replace(found.context, ways=("full", "adapters"))
    shapes = Shapes(context)
    source = random.Random(0)

    def latency_ms(spec: StudentSpec) -> float:
        kept = [b for b in context.blocks if b.name not in spec.dropped]
        rank = 0 if spec.recovery is None or spec.recovery.kept_adapters is None else spec.recovery.rank
        return float(shapes.of(spec).macs.sum() / 2e7 + bool(rank) * len(kept) * (0.05 + 0.005 * rank))

    def spec() -> StudentSpec:
        counts = {g.name: source.randrange(g.channels // 2, g.channels) for g in context.groups}
        recovery = Recovery(tune="adapters", rank=source.choice((4, 8, 16))) if source.random() < 0.5 else None
        return StudentSpec(counts, recovery=recovery)

    samples = [(one, latency_ms(one)) for one in (spec() for _ in range(32))]
    model = LatencyLearner(context, samples).model
    errors = [abs(model.predict_ms(one) / latency_ms(one) - 1) for one in (spec() for _ in range(40))]
    assert np.median(errors) < 0.05
