"""The axis `factors`: what it offers, what narrower students leave of that, and what both parts have to compute."""

from __future__ import annotations

import functools
import random
from dataclasses import replace

import nets
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from autocompress.compression.student import make_student
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.factors import PAYS, FactorsAxis, factor_of, word_of
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.factored_shapes import in_parts
from autocompress.spaces.factors import Factor
from autocompress.spaces.layers import Layer, kind_of
from autocompress.spaces.plan import Plan
from autocompress.spaces.shapes import Shapes
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec

NETWORKS = ("digits", "flatten", "concat", "grouped", pytest.param("mobilenet_v2", marks=pytest.mark.slow))


@functools.cache
def space(name: str) -> Space:
    context = replace(nets.net(name).context, axes=("depth", "channels", "factors", "bits"))
    return Space(context, [DepthAxis(), ChannelsAxis(), FactorsAxis(), nets.AXES["bits"]])


def drawn(name: str, seed: int) -> StudentSpec:
    found, source = space(name), random.Random(seed)
    return found.spec(found.assemble([source.randrange(len(v.options)) for v in found.network], Plan()))


def layer(kind: str, *shape: int, groups: int = 1) -> Layer:
    return Layer("x", kind, 0.5, int(np.prod(shape)), int(np.prod(shape)), 1, shape, groups)


@pytest.mark.parametrize(
    ("one", "options"),
    [
        (layer("linear", 256, 64), ["rank:32", "rank:16"]),
        (layer("linear", 256, 256), ["rank:64", "rank:32"]),
        (layer("linear", 3072, 768), ["rank:384", "rank:192", "rank:96"]),
        (layer("pointwise", 64, 256, 1, 1), ["rank:32", "rank:16"]),
        (layer("conv", 64, 32, 3, 3), ["separable"]),
        (layer("conv", 32, 32, 5), ["separable"]),
        (layer("linear", 10, 512), []),
        (layer("linear", 32, 32), []),
        (layer("conv", 64, 3, 3, 3), []),
        (layer("conv", 64, 64, 3, 3, groups=2), []),
        (layer("depthwise", 64, 1, 3, 3, groups=64), []),
    ],
)
def test_what_is_offered_is_smaller_than_the_layer(one: Layer, options: list[str]) -> None:
    context = SpaceContext((one,), (), nets.CAPABILITIES)
    axis = FactorsAxis()
    variables = axis.variables(context)
    assert [option for v in variables for option in v.options[1:]] == options
    assert all(part < PAYS for v in variables for part in v.parts[1:])
    assert bool(axis.left_out(context)) == (not options)
    assert axis.variables(replace(context, keep=frozenset({"x"}))) == ()
    assert axis.left_out(replace(context, keep=frozenset({"x"})))[0].reason == "kept as asked"


def test_an_option_says_what_becomes_of_a_layer() -> None:
    for factor in (Factor("rank", 48), Factor("separable")):
        assert factor_of(word_of(factor)) == factor


def test_layers_that_became_too_narrow_for_their_rank_stay_whole() -> None:
    found = space("flatten")
    name = next(v.subject for v in found.of("factors") if v.families[-1] == "rank")
    most = Plan({f"factors:{name}": found.variable(f"factors:{name}").options[1]})  # type: ignore[union-attr]
    assert found.spec(most).factors
    group = next(g for g in found.context.groups if any((m.layer, m.side) == (name, "out") for m in g.members))
    narrow = most.changed({f"channels:{group.name}": min(found.variable(f"channels:{group.name}").options)})  # type: ignore[union-attr, type-var]
    legal = found.repair(narrow)
    assert not found.spec(legal).factors and f"factors:{name}" not in legal.choices
    assert found.repair(legal) == legal


@pytest.mark.parametrize("name", NETWORKS)
def test_whatever_is_drawn_can_be_made_and_is_smaller_for_its_factors(name: str) -> None:
    net = nets.net(name)
    for seed in range(6):
        spec = drawn(name, seed)
        whole = make_student(net.parent, replace(spec, factors={})).module
        student = make_student(net.parent, spec).module
        for layer_name in spec.factors:
            parts = sum(p.numel() for p in student.get_submodule(layer_name).parameters())
            assert parts < sum(p.numel() for p in whole.get_submodule(layer_name).parameters())
        assert student(net.inputs(2)).shape == (2, 10)


def ran(module: nn.Module, example: Tensor) -> dict[str, tuple[int, int, int, int, str]]:
    """Inputs, outputs, weights, numbers in the output map and the kind of each layer that runs."""
    seen: dict[str, tuple[int, int, int, int, str]] = {}

    def hook(name: str) -> object:
        def look(part: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
            dim = -1 if isinstance(part, nn.Linear) else 1
            weight = part.weight
            assert isinstance(weight, Tensor)
            sides = given[0].shape[dim], output.shape[dim]
            seen[name] = (*sides, weight.numel(), output.numel(), kind_of(part) or "")

        return look

    for name, part in module.named_modules():
        if kind_of(part):
            part.register_forward_hook(hook(name))  # type: ignore[arg-type]
    with torch.no_grad():
        module(example)
    return seen


@pytest.mark.parametrize("name", NETWORKS)
def test_shapes_of_both_parts_are_those_of_the_student(name: str) -> None:
    net, context = nets.net(name), space(name).context
    for seed in range(4):
        spec = drawn(name, seed)
        parts = in_parts(Shapes(context).of(spec), context.layers, spec.factors)
        seen = ran(make_student(net.parent, spec).module.eval(), net.example)
        told: dict[str, tuple[int, int, int, int]] = {}
        for i, one in enumerate(context.layers):
            names = (f"{one.name}.0", f"{one.name}.1") if one.name in spec.factors else (one.name,)
            for shapes, part in zip((parts.first, parts.second), names, strict=False):
                if shapes.present[i]:
                    numbers = (shapes.inputs[i], shapes.outputs[i], shapes.weights[i], shapes.writes[i])
                    told[part] = tuple(map(int, numbers))  # type: ignore[assignment]
        assert told == {layer_name: numbers[:4] for layer_name, numbers in seen.items()}
        second = [parts.second.present[i] for i in range(len(context.layers))]
        assert second == [one.name in spec.factors for one in context.layers]
