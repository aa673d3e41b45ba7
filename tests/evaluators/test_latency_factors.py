"""The latency of students with factored layers: predicted from the few plans that a study times first."""

from __future__ import annotations

import random
from dataclasses import replace

import nets
import numpy as np

from autocompress.evaluators.latency_features import Features
from autocompress.evaluators.latency_model import LatencyLearner
from autocompress.search.prepare.latency_samples import sample_plans
from autocompress.spaces.axes.factors import FactorsAxis
from autocompress.spaces.factored_shapes import in_parts
from autocompress.spaces.factors import Factor
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec

CLOSE = 0.06


def space() -> Space:
    context = replace(nets.net("digits").context, axes=("channels", "factors", "bits"))
    return Space(context, [nets.AXES["channels"], FactorsAxis(), nets.AXES["bits"]])


def latency_ms(found: Space, spec: StudentSpec) -> float:
    """A made-up machine on which each layer has a start, and depthwise layers take five times as long."""
    parts = in_parts(Shapes(found.context).of(spec), found.context.layers, spec.factors)
    slow = np.where(parts.separable, 5.0, 1.0)
    total = 0.0
    for shapes, factor in ((parts.first, slow), (parts.second, 1.0)):
        work = shapes.macs * factor * np.where(shapes.bits < 16, 0.3, 1.0) / 2e7
        total += work.sum() + (shapes.reads + shapes.writes).sum() / 5e6 + 0.002 * shapes.present.sum()
    return float(total)


def test_factored_students_are_predicted_from_the_plans_that_are_timed_first() -> None:
    found = space()
    first = [found.spec(plan) for plan in sample_plans(found, 48)]
    assert {bool(spec.factors) for spec in first} == {True, False}
    model = LatencyLearner(found.context, [(spec, latency_ms(found, spec)) for spec in first]).model
    source = random.Random(0)
    drawn = ([source.randrange(len(v.options)) for v in found.network] for _ in range(60))
    specs = [found.spec(found.assemble(indices, Plan())) for indices in drawn]
    errors = [abs(model.predict_ms(spec) / latency_ms(found, spec) - 1) for spec in specs]
    assert np.median(errors) < CLOSE


def test_both_parts_of_a_layer_count_as_what_it_takes() -> None:
    found = space()
    features = Features(found.context)
    factored = next(v.subject for v in found.of("factors"))
    at = [one.name for one in found.context.layers].index(factored)
    whole, less = (features.by_layer(StudentSpec(factors=f)) for f in ({}, {factored: Factor("separable")}))
    assert abs(less.sum() - 1) < 1e-9 and 0 < less[at] != whole[at]
    other = Features(replace(found.context, axes=("channels",)))
    assert len(other.prior) < len(features.prior), "kinds that only factors make are known where there are factors"
