"""Students with layers in two parts: how near these come, what they are taught with, and where they start."""

from __future__ import annotations

import copy
from dataclasses import replace

import nets
import pytest
import torch
from encoders import TOKENS, Encoder, unlike
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from autocompress.compression.edits import Parent
from autocompress.compression.factored import factor_layers, merged
from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.gradual import Ramp
from autocompress.compression.losses import categorical_divergence
from autocompress.compression.sensitivity import measure_sensitivity
from autocompress.compression.student import make_student
from autocompress.compression.warm_start import distance, warm_parent
from autocompress.errors import TrialFailed
from autocompress.spaces.axes.factors import FactorsAxis
from autocompress.spaces.factors import Factor
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.inputs import call, rows_of
from autocompress.spaces.network import look_at_network
from autocompress.spaces.space import Space
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec

SEPARABLE = Factor("separable")
LAYERS = {
    "linear": lambda: nn.Linear(24, 40),
    "wide to narrow, without bias": lambda: nn.Linear(40, 24, bias=False),
    "pointwise": lambda: nn.Conv2d(24, 40, 1, stride=2),
    "pointwise in one dimension": lambda: nn.Conv1d(40, 24, 1),
}
CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(8, 12, 3, padding=1),
    "strided and dilated": lambda: nn.Conv2d(8, 12, 3, stride=2, padding=2, dilation=2, bias=False),
    "of two sides": lambda: nn.Conv2d(8, 6, (3, 5), padding="same", padding_mode="reflect"),
    "in one dimension": lambda: nn.Conv1d(8, 12, 5),
    "in three dimensions": lambda: nn.Conv3d(8, 12, 3, padding=1),
}


def made(make: object, seed: int = 0) -> tuple[nn.Sequential, Tensor]:
    """A network of one layer, and inputs for it."""
    assert callable(make)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        layer = make()
        sizes = {nn.Linear: (), nn.Conv1d: (9,), nn.Conv2d: (9, 9), nn.Conv3d: (5, 5, 5)}[type(layer)]
        inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        return nn.Sequential(layer).eval(), torch.randn(3, inputs, *sizes)


def factored(network: nn.Module, factor: Factor, name: str = "0") -> nn.Module:
    other = copy.deepcopy(network)
    factor_layers(other, {name: factor})
    return other


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_parts_of_full_rank_are_the_layer(make: object) -> None:
    network, inputs = made(make)
    for rank in (0, 24, 999):
        other = factored(network, Factor("rank", rank))
        assert other[0][0].weight.shape[0] == 24 and other[0][0].bias is None
        torch.testing.assert_close(other(inputs), network(inputs), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("make", LAYERS.values(), ids=LAYERS.keys())
def test_a_layer_of_low_rank_is_two_small_ones(make: object) -> None:
    network, inputs = made(make)
    weight = network[0].weight
    low = torch.randn(len(weight), 5) @ torch.randn(5, weight.shape[1])
    weight.data = low.view_as(weight)
    other = factored(network, Factor("rank", 5))
    assert [tuple(part.weight.shape[:2]) for part in other[0]] == [(5, weight.shape[1]), (len(weight), 5)]
    torch.testing.assert_close(other(inputs), network(inputs), atol=1e-4, rtol=1e-4)


@given(st.integers(1, 23), st.integers(0, 99))
@settings(max_examples=10)
def test_no_layer_of_this_rank_is_nearer(rank: int, seed: int) -> None:
    network, _ = made(LAYERS["linear"], seed)
    first, second = factored(network, Factor("rank", rank))[0]
    off = (second.weight @ first.weight - network[0].weight).detach().norm()
    least = torch.linalg.svdvals(network[0].weight.detach())[rank:].norm()
    assert float(off) == pytest.approx(float(least), rel=1e-3)
    # neither part has all of the size, so that both are trained and rounded alike
    assert 0.9 < float((first.weight.norm() / second.weight.norm()).detach()) < 1.1


@pytest.mark.parametrize("make", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_a_separable_convolution_is_found_again(make: object) -> None:
    network, inputs = made(make)
    weight = network[0].weight
    filters = torch.randn(1, weight.shape[1], *weight.shape[2:])
    weight.data = torch.randn(*weight.shape[:2], *(1 for _ in weight.shape[2:])) * filters
    other = factored(network, SEPARABLE)
    first, second = other[0]
    assert first.groups == weight.shape[1] and set(second.kernel_size) == {1}
    torch.testing.assert_close(other(inputs), network(inputs), atol=1e-4, rtol=1e-4)


def test_a_convolution_that_is_not_separable_is_approximated_channel_by_channel() -> None:
    network, _ = made(CONVOLUTIONS["plain"])
    first, second = factored(network, SEPARABLE)[0]
    near = (second.weight * first.weight.transpose(0, 1)).detach()
    for i in range(8):
        own = network[0].weight[:, i].detach().flatten(1)
        least = torch.linalg.svdvals(own)[1:].norm()
        assert float((near[:, i].flatten(1) - own).norm()) == pytest.approx(float(least), rel=1e-3)


@pytest.mark.parametrize("make", [*LAYERS.values(), *CONVOLUTIONS.values()])
def test_parts_that_are_put_together_factor_into_the_same_again(make: object) -> None:
    network, inputs = made(make)
    kind = SEPARABLE if max(getattr(network[0], "kernel_size", (1,))) > 1 else Factor("rank", 6)
    other = factored(network, kind)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
    whole = copy.deepcopy(network)
    whole.load_state_dict(merged(other.state_dict(), {"0": kind}))
    torch.testing.assert_close(whole(inputs), other(inputs), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(factored(whole, kind)(inputs), other(inputs), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    ("name", "factor", "why"),
    [
        ("nothing", SEPARABLE, "layer nothing cannot be factored: the network has no linear layer"),
        ("0", SEPARABLE, "layer 0 cannot be factored: separable is not for layers of its kind"),
        ("1", Factor("rank", 2), "layer 1 cannot be factored: rank is not for layers of its kind"),
        ("2", SEPARABLE, "layer 2 cannot be factored: separable is not for layers of its kind"),
    ],
)
def test_what_cannot_be_factored_is_named(name: str, factor: Factor, why: str) -> None:
    network = nn.Sequential(nn.Linear(8, 8), nn.Conv2d(8, 8, 3), nn.Conv2d(8, 8, 3, groups=2))
    with pytest.raises(TrialFailed, match=why):
        factor_layers(network, {name: factor})


def digits_spec(**more: object) -> StudentSpec:
    """A narrow student of the small residual network with two layers in parts."""
    net = nets.net("digits")
    convolutions = [layer.name for layer in net.context.layers if layer.kind == "conv"]
    narrow = replace(net.spec(channels=0.5), bits={}, recovery=None)
    return replace(narrow, factors={convolutions[1]: SEPARABLE, convolutions[-1]: SEPARABLE}, **more)  # type: ignore[arg-type]


def test_a_narrow_student_is_factored_as_it_is_left() -> None:
    net, spec = nets.net("digits"), digits_spec()
    whole, student = net.student(replace(spec, factors={})).module, net.student(spec).module
    for name in spec.factors:
        first, second = student.get_submodule(name)  # type: ignore[misc]
        layer = whole.get_submodule(name)
        assert (first.in_channels, second.out_channels) == (layer.in_channels, layer.out_channels)
    assert student(net.inputs(3)).shape == (3, 10)
    assert sum(p.numel() for p in student.parameters()) < sum(p.numel() for p in whole.parameters())
    state = student.state_dict()
    assert all(
        torch.equal(state[n], v) for n, v in whole.state_dict().items() if n.rpartition(".")[0] not in spec.factors
    )


def test_bits_and_zeros_of_a_layer_are_those_of_both_its_parts() -> None:
    net, spec = nets.net("digits"), digits_spec()
    (name, *_) = spec.factors
    spec = replace(spec, patterns={name: Pattern("unstructured", 0.5)}, bits={name: 8}, recovery=Recovery(ramp="cubic"))
    student = net.student(spec)
    assert student.masks.keys() == {f"{name}.0", f"{name}.1"}
    for part in student.masks:
        zeros = float((student.module.get_parameter(f"{part}.weight") == 0).float().mean())
        assert zeros == pytest.approx(0.5, abs=0.02)
    ramp = Ramp.of(spec, 10)
    assert ramp is not None and ramp.masks(student.module, 10).keys() == student.masks.keys()
    fake = FakeQuantizer(student.module, spec.realised(spec.bits))
    fake.switch_on()
    rounded = student.module(net.inputs(4))
    fake.switch_off()
    assert fake.ranges.keys() == {f"{name}.0", f"{name}.1"}
    assert float((rounded - student.module(net.inputs(4))).abs().max()) > 0


def test_new_weights_have_the_same_shapes_and_zeros() -> None:
    net, spec = nets.net("digits"), digits_spec()
    fresh = net.student(replace(spec, recovery=Recovery(fresh=True))).module
    student = net.student(spec).module
    assert {n: v.shape for n, v in fresh.state_dict().items()} == {n: v.shape for n, v in student.state_dict().items()}
    (name, *_) = spec.factors
    assert not torch.equal(fresh.get_parameter(f"{name}.0.weight"), student.get_parameter(f"{name}.0.weight"))


def encoder() -> tuple[Parent, dict[str, Factor]]:
    graph = capture(unlike(Encoder(True)), rows_of(TOKENS, slice(0, 1)))
    found = look_at_network(graph, rows_of(TOKENS, slice(0, 1)))
    factors = {layer.name: Factor("rank", 8) for layer in found.layers if layer.name.endswith(("up", "down", "qkv"))}
    assert len(factors) == 9
    return Parent.of(graph, found), factors


def test_blocks_are_dropped_around_factored_layers() -> None:
    parent, factors = encoder()
    gone = parent.blocks[3]
    whole_rank = {name: Factor("rank") for name in factors if name not in gone.layers}
    student = make_student(parent, StudentSpec(factors=whole_rank, dropped=(gone.name,))).module.eval()
    plain = make_student(parent, StudentSpec(dropped=(gone.name,))).module.eval()
    assert {name for name, _ in student.named_modules()} >= {f"{name}.{i}" for name in whole_rank for i in (0, 1)}
    torch.testing.assert_close(call(student, TOKENS), call(plain, TOKENS), atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", nets.SMALL)
def test_a_student_goes_on_where_a_factored_one_ended(name: str) -> None:
    net = nets.net(name)
    space = Space(replace(net.context, axes=("factors",)), [FactorsAxis()])
    factors = space.spec(space.uniform({"factors": 0.1})).factors
    spec = StudentSpec(factors=factors)
    neighbour = net.student(spec).module
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in neighbour.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    parent = warm_parent(net.parent, spec, neighbour.state_dict())
    for other in (spec, StudentSpec()):
        child = make_student(parent, other).module.eval()
        torch.testing.assert_close(child(net.inputs(3)), neighbour.eval()(net.inputs(3)), atol=1e-3, rtol=1e-3)
    narrow = replace(net.spec(channels=0.5), bits={}, recovery=None, factors=factors)
    assert make_student(parent, narrow).module.eval()(net.inputs(3)).shape == (3, 10)
    state = neighbour.state_dict()
    if factors:
        del state[f"{next(iter(factors))}.1.weight"]
        with pytest.raises(TrialFailed, match="is missing"):
            warm_parent(net.parent, spec, state)


def test_students_of_other_parts_are_further_apart() -> None:
    groups = nets.net("digits").context.groups
    low, lower = (StudentSpec(factors={"a": Factor("rank", rank)}) for rank in (32, 16))
    whole = StudentSpec()
    assert distance(low, low, groups) == 0
    assert 0 < distance(low, lower, groups) == distance(lower, low, groups)
    assert distance(whole, low, groups) > 0
    assert distance(replace(low, factors={"a": SEPARABLE}), low, groups) > 0


def test_sensitivity_is_what_factoring_a_layer_does() -> None:
    net = nets.net("flatten")
    space = Space(replace(net.context, axes=("factors",)), [FactorsAxis()])
    (variable,) = space.network
    inputs = net.inputs(8)
    found = measure_sensitivity(net.model, space, inputs).of(space)[variable.name]
    assert found[0] == 0 and list(found) == sorted(found)
    factor = space.spec(space.uniform({"factors": variable.options[-1]})).factors
    with torch.no_grad():
        answers = net.student(StudentSpec(factors=factor)).module.eval()(inputs)
        expected = float(categorical_divergence(answers.double(), net.model(inputs).double(), 1.0).mean())
    assert found[-1] == pytest.approx(expected, rel=1e-3)


def test_adapters_stand_behind_both_parts_of_a_layer() -> None:
    parent, factors = encoder()
    spec = StudentSpec(factors=factors, recovery=Recovery(tune="adapters", rank=4))
    student, plain = (make_student(parent, each).module.eval() for each in (spec, replace(spec, recovery=None)))
    assert sum(p.numel() for p in student.parameters()) > sum(p.numel() for p in plain.parameters())
    torch.testing.assert_close(call(student, TOKENS), call(plain, TOKENS))
