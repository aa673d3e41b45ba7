"""Shorter sequences for a recurrent network: what a space knows of them, and how its latency model learns them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import recurrent_task
import torch

from autocompress.evaluators.latency_model import LatencyLearner
from autocompress.search.prepare.latency_samples import sample_plans
from autocompress.search.prepare.space import space_without_measuring
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.sizes import find_sizes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.studies.study_file import StudyFile

TOKENS = 32


@pytest.fixture(scope="module")
def network() -> Network:
    model, example = recurrent_task.Counts().eval(), torch.zeros(1, TOKENS, dtype=torch.long)
    graph = capture(model, example)
    return replace(look_at_network(graph, example), resizings=find_sizes(model, graph, example, None)[0])


def space(network: Network, recurrent: bool) -> Space:
    settings = StudyFile().changed("space", axes=("channels", "size", "bits"), recurrent=recurrent)
    return space_without_measuring(network, settings)


@pytest.mark.parametrize("recurrent", [False, True])
def test_sizes_leave_less_of_layers_that_read_the_sequence(network: Network, recurrent: bool) -> None:
    found = space(network, recurrent)
    (size,) = found.of("size")
    assert size.options == (0, 28, 24, 20, 16)
    assert size.parts == pytest.approx([1, 28 / 32, 24 / 32, 20 / 32, 16 / 32], abs=0.06)
    assert found.spec(found.uniform({"size": 0.0})).size == 16
    assert found.spec(found.uniform({"size": 0.75})).size == 24


def latency_ms(found: Space, spec: StudentSpec) -> float:
    """A made-up machine: a start of every file, then time for every token."""
    few = sum(spec.bits.get(layer.name, 32) < 32 for layer in found.context.layers)
    return 0.05 + 0.02 * (spec.size or TOKENS) - 0.002 * few


def test_students_that_read_less_are_predicted_from_the_plans_that_are_timed_first(network: Network) -> None:
    found = space(network, recurrent=False)
    first = [found.spec(plan) for plan in sample_plans(found, 32)]
    assert {spec.size for spec in first} == {0, 28, 24, 20, 16}
    model = LatencyLearner(found.context, [(spec, latency_ms(found, spec)) for spec in first]).model
    assert model.relative_error < 0.05 and model.p90_error < 0.15
    for size in (0, 28, 24, 20, 16):
        assert model.predict_ms(StudentSpec(size=size)) == pytest.approx(latency_ms(found, StudentSpec(size=size)), 0.1)
