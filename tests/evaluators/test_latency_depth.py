"""The latency of students without blocks: predicted from the few plans that a study times first."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from nets import net, space_over

from autocompress.evaluators.latency_features import REPLACED_BY, Features
from autocompress.evaluators.latency_model import LatencyLearner
from autocompress.search.prepare.latency_samples import sample_plans
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec

CLOSE = 0.05


def space() -> Space:
    return space_over(net("cifar_resnet20").context, "depth", "channels", "bits")


def latency_ms(found: Space, spec: StudentSpec) -> float:
    """A made-up machine: int8 at a third of the time, converting between precisions and a start of every layer."""
    shapes = Shapes(found.context).of(spec)
    here = shapes.present
    bits, reads = shapes.bits[here], shapes.reads[here]
    work = shapes.macs[here] * np.where(bits < 16, 0.3, 1.0) / 2e7
    borders = np.where(bits[1:] != bits[:-1], reads[1:] / 1e6, 0)
    return float(work.sum() + (reads + shapes.writes[here]).sum() / 5e6 + borders.sum() + 0.002 * here.sum())


def test_students_that_lack_blocks_are_predicted_from_the_plans_that_are_timed_first() -> None:
    found = space()
    first = [found.spec(plan) for plan in sample_plans(found, 48)]
    assert {bool(spec.dropped) for spec in first} == {True, False}
    model = LatencyLearner(found.context, [(spec, latency_ms(found, spec)) for spec in first]).model
    source, errors = random.Random(0), []
    for _ in range(60):
        indices = [source.randrange(len(v.options)) for v in found.network]
        spec = replace(found.spec(found.assemble(indices, Plan())), recovery=None)
        errors.append(abs(model.predict_ms(spec) / latency_ms(found, spec) - 1))
    assert np.median(errors) < CLOSE


def test_layers_that_are_gone_take_no_part_of_the_time() -> None:
    found = space()
    block = found.context.blocks[1]
    parts = Features(found.context).by_layer(StudentSpec(dropped=(block.name,)))
    gone = np.array([layer.name in block.layers for layer in found.context.layers])
    assert not parts[gone].any() and (parts[~gone] > 0).all()
    assert abs(parts.sum() - 1) < 1e-9


def test_borders_are_between_layers_that_are_left() -> None:
    found = space()
    block = found.context.blocks[1]
    outside = {layer.name: 8 for layer in found.context.layers if layer.name not in block.layers}
    features = Features(found.context)
    whole, cut = (features.of(StudentSpec(bits=outside, dropped=gone))[0] for gone in ((), (block.name,)))
    borders = -2 - 2 * len(REPLACED_BY)
    assert (whole[borders], cut[borders]) == (2, 0)
