"""Sensitivity: what each decision alone does to a teacher's answers, measured without changing the teacher."""

from __future__ import annotations

import copy
import json

import hypothesis.strategies as st
import pytest
import torch
from hypothesis import given
from nets import SMALL, Net, net
from torch import Tensor, nn

from autocompress.compression.fake_quant import FakeQuantizer
from autocompress.compression.first_look import outputs_with_bits
from autocompress.compression.recover import Stopped
from autocompress.compression.sensitivity import decisions_of, measure_sensitivity, sensitivity_inputs
from autocompress.compression.student import make_student, mask_of
from autocompress.errors import DataError
from autocompress.spaces.axes.base import Ground
from autocompress.spaces.plan import Pattern, Plan
from autocompress.spaces.sensitivity import Decision, Sensitivity
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.surrogates import Guide
from autocompress.spaces.target import Capabilities
from autocompress.studies.data.images import ImageData

CAN = Capabilities(latency_bits=(32, 16, 8), storage_bits=(4,), channel_multiple=8)


def space_of(found: Net, axes: tuple[str, ...] = ("channels", "bits"), only: str | None = None) -> Space:
    """only: the one layer that may change."""
    keep = frozenset(la.name for la in found.ground.layers if only is not None and la.name != only)
    return build_space(Ground(found.ground.layers, found.ground.groups, CAN, keep, storage_counts=True), axes)


def divergence(expected: Tensor, got: Tensor) -> float:
    """KL(expected || got) of logits [N, K], the mean over N: by its definition."""
    p, q = expected.double().softmax(1), got.double().softmax(1)
    return float((p * (p.log() - q.log())).sum(1).mean())


@pytest.mark.parametrize("name", [*SMALL, "cifar_resnet20"])
def test_the_first_option_does_nothing_and_more_compression_never_does_less(name: str) -> None:
    space = space_of(net(name), axes=("channels", "bits", "pattern") if name == "flatten" else ("channels", "bits"))
    found = measure_sensitivity(net(name).model, space, net(name).inputs(8))
    assert set(found.decisions()) == set(decisions_of(space)) and found.inputs == 8
    assert all(nats >= 0 for nats in found.decisions().values())
    damage = found.damage(sites := Sites(space))
    for site in sites:
        assert len(damage[site.name]) == len(site.options) and damage[site.name][0] == 0.0
        rising = [d for d, o in zip(damage[site.name], site.options, strict=True) if o != Pattern("2:4", 0.5)]
        assert rising == sorted(rising), site.name
    guide = Guide(damage)
    narrow = space.uniform(0.25, 4, None)
    assert guide.damage_of(sites, narrow) > guide.damage_of(sites, space.uniform(1.0, 8, None)) > 0


@given(
    st.dictionaries(st.integers(1, 7), st.floats(0, 5), min_size=1, max_size=5),
    st.lists(st.floats(0, 5), min_size=9, max_size=9),
)
def test_any_figures_become_damages_that_rise(counts: dict[int, float], figures: list[float]) -> None:
    space = space_of(net("digits"))
    group, layers = space.ground.groups[0], space.ground.layers
    bits = {la.name: dict(zip((16, 8, 4), figures[3 * i : 3 * i + 3], strict=True)) for i, la in enumerate(layers[:3])}
    full = group.channels
    channels = {group.name: {full: 0.0} | {c * full // 8: x for c, x in counts.items()}}
    found = Sensitivity(bits, channels, inputs=1)
    damages = found.damage(Sites(space))
    assert f"channels:{group.name}" in damages
    for steps in damages.values():
        assert steps[0] == 0.0 and list(steps) == sorted(steps)
    curve = [found.at_count(group.name, full * part / 100) for part in range(101)]
    assert curve == sorted(curve, reverse=True) and curve[-1] == 0.0
    assert max(curve) == pytest.approx(max(counts.values()))
    assert Sensitivity.from_dict(json.loads(json.dumps(found.to_dict()))) == found


def test_between_two_counts_the_logarithm_is_linear() -> None:
    found = Sensitivity(channels={"a": {32: 0.0, 24: 0.01, 8: 1.0}})
    assert found.at_count("a", 16) == pytest.approx(0.1)
    assert found.at_count("a", 28) == pytest.approx(0.005), "to the full count in a straight line: it has no logarithm"
    assert found.at_count("a", 4) == found.at_count("a", 8) == 1.0


def test_two_of_four_zeros_do_no_more_for_standing_behind_ninety_percent() -> None:
    space = space_of(net("digits"), axes=("pattern",))
    sites = Sites(space)
    site = next(iter(sites))
    zeros = {p: p.rate for p in site.options if isinstance(p, Pattern)} | {Pattern("2:4", 0.5): 0.55}
    damage = Sensitivity(patterns={site.owner: zeros}).damage(sites)[site.name]
    assert damage == (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 0.55)


def test_an_outsider_finds_the_same_figures_for_a_layer() -> None:
    digits = net("digits")
    inputs = digits.inputs(70)  # two batches
    found = measure_sensitivity(digits.model, space_of(digits, ("bits", "pattern"), "layer2.0.conv1"), inputs)
    with torch.no_grad():
        expected = digits.model(inputs)

        def answers(width: int | None, pattern: Pattern | None = None) -> Tensor:
            model = copy.deepcopy(digits.model)
            layer = model.get_submodule("layer2.0.conv1")
            assert isinstance(layer, nn.Conv2d)
            seen: list[Tensor] = []
            layer.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
            model(inputs)
            low, high = min(0.0, float(seen[0].min())), max(0.0, float(seen[0].max()))
            if pattern is not None:
                layer.weight.mul_(mask_of(layer.weight, pattern))
            elif width == 16:
                layer.weight.copy_(layer.weight.bfloat16().float())
                layer.register_forward_pre_hook(lambda _m, args: (args[0].bfloat16().float(),))
            elif width is not None:
                top = 2 ** (width - 1) - 1
                scale = layer.weight.abs().amax((1, 2, 3), keepdim=True) / top
                layer.weight.copy_((layer.weight / scale).round().clamp(-top, top) * scale)
                step = (high - low) / 255
                zero = round(-low / step)
                if width == 8:
                    layer.register_forward_pre_hook(
                        lambda _m, args: ((((args[0] / step).round() + zero).clamp(0, 255) - zero) * step,)
                    )
            return model(inputs)

        for width, nats in found.bits["layer2.0.conv1"].items():
            assert nats == pytest.approx(divergence(expected, answers(width)), rel=0.02), width
        for pattern, nats in found.patterns["layer2.0.conv1"].items():
            assert nats == pytest.approx(divergence(expected, answers(None, pattern)), rel=1e-3), pattern


def test_an_outsider_finds_the_same_figures_for_a_group() -> None:
    digits = net("digits")
    inputs, space = digits.inputs(70), space_of(digits, ("channels",), "layer2.0.conv1")
    found = measure_sensitivity(digits.model, space, inputs)
    group = next(g for g in space.ground.groups if g.name == "layer2.0.conv1")
    behind = [layer.name for layer in space.ground.layers]
    behind = behind[behind.index(group.name) :]
    for count, nats in list(found.channels[group.name].items())[1:]:
        student = make_student(digits.model, space.ground.groups, Plan({group.name: count})).module
        batches: dict[str, list[tuple[Tensor, Tensor]]] = {}
        norms = {n: m for n, m in student.named_modules() if isinstance(m, nn.BatchNorm2d)}
        late = [n for n in norms if n.replace("bn", "conv").replace("shortcut.1", "shortcut.0") in behind]
        assert 0 < len(late) < len(norms), "norms in front of the group keep what they have"
        with torch.no_grad():
            for half in inputs.tensor_split(2):
                for n in late:
                    norms[n].train().momentum = 1.0
                student(half)
                for n in late:
                    mean, var = norms[n].running_mean, norms[n].running_var
                    assert mean is not None and var is not None
                    batches.setdefault(n, []).append((mean.clone(), var.clone()))
            for n, halves in batches.items():
                norms[n].eval().running_mean = torch.stack([mean for mean, _ in halves]).mean(0)
                norms[n].running_var = torch.stack([var for _, var in halves]).mean(0)
            assert nats == pytest.approx(divergence(digits.model(inputs), student(inputs)), rel=1e-3)


def test_what_changes_nothing_does_no_damage() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)).eval()
    with torch.no_grad():
        model[1].weight.copy_(model[1].weight.bfloat16().float())  # type: ignore[union-attr, operator]
        model[1].weight.mul_(mask_of(model[1].weight, Pattern("2:4", 0.5)))  # type: ignore[arg-type, operator, union-attr]
    inputs = torch.randn(8, 64).bfloat16().float()
    from autocompress.spaces.layers import find_layers

    ground = Ground(find_layers(model, inputs[:1]), (), CAN, storage_counts=True)
    found = measure_sensitivity(model, build_space(ground, ("bits", "pattern")), inputs)
    assert found.bits["1"][16] == 0.0 and found.bits["3"][16] > 0
    assert found.patterns["1"][Pattern("2:4", 0.5)] == 0.0 and found.patterns["1"][Pattern("unstructured", 0.5)] == 0.0
    assert found.patterns["1"][Pattern("unstructured", 0.9)] > 0
    assert found.order("bits") == ("1", "3") or found.bits["1"][4] > found.bits["3"][4]


@pytest.mark.parametrize("training", [False, True])
def test_the_teacher_is_left_as_it_is(training: bool) -> None:
    found = net("digits")
    teacher = copy.deepcopy(found.model).train(training)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    own = [dict(module.__dict__) for module in teacher.modules()]
    measure_sensitivity(teacher, space_of(found), found.inputs(8))
    after = teacher.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(module.training == training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    for module, old in zip(teacher.modules(), own, strict=True):
        assert module.__dict__.keys() == old.keys() and "forward" not in module.__dict__
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_it_stops_when_asked_and_goes_on_from_what_was_kept() -> None:
    found = net("digits")
    space, inputs = space_of(found), found.inputs(4)
    kept: list[Sensitivity] = []
    with pytest.raises(Stopped):
        measure_sensitivity(found.model, space, inputs, stop=lambda: bool(kept), keep=kept.append)
    lines: list[str] = []
    again = measure_sensitivity(found.model, space, inputs, known=kept[-1], say=lines.append)
    assert again == measure_sensitivity(found.model, space, inputs)
    left = set(decisions_of(space)) - set(kept[-1].decisions())
    assert left and lines[0] == f"sensitivity: {len(left)} decisions on 4 inputs"


def test_no_inputs_are_a_mistake_of_the_user() -> None:
    with pytest.raises(DataError, match="calibration inputs, got none"):
        measure_sensitivity(net("digits").model, space_of(net("digits")), net("digits").inputs(0))


def test_heavy_networks_are_looked_at_on_fewer_inputs() -> None:
    from dataclasses import replace

    ground = net("digits").ground
    heavy = replace(ground, layers=tuple(replace(layer, macs=10**9) for layer in ground.layers))
    calibration = torch.zeros(512, 1, 2, 2)
    assert len(sensitivity_inputs(ground, calibration)) == 256
    assert len(sensitivity_inputs(heavy, calibration)) == 64


def test_damages_can_be_looked_up_by_decision() -> None:
    found = Sensitivity.of({Decision("bits", "a", 8): 0.1, Decision("channels", "g", 16): 0.0}, 4)
    assert found.bits == {"a": {8: 0.1}} and found.channels == {"g": {16: 0.0}}
    assert found.decisions()[Decision("bits", "a", 8)] == 0.1


class Encoder(nn.Module):
    """A transformer of torch's own layer, which has a fused path past its modules."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoderLayer(16, 2, 32, batch_first=True)
        self.head = nn.Linear(16, 4)

    def forward(self, x: Tensor) -> Tensor:
        answers: Tensor = self.head(self.encoder(x).mean(1))
        return answers


def test_layers_of_a_fused_transformer_are_changed_like_any_others() -> None:
    from autocompress.spaces.layers import find_layers

    torch.manual_seed(0)
    model, inputs = Encoder().eval(), torch.randn(32, 5, 16)
    before = torch.backends.mha.get_fastpath_enabled()
    ground = Ground(tuple(find_layers(model, inputs[:1])), (), CAN, storage_counts=True)
    assert "encoder.linear1" in {layer.name for layer in ground.layers}
    found = measure_sensitivity(model, build_space(ground, ("bits",)), inputs)
    assert all(found.bits[name][4] > 1e-6 for name in ("encoder.linear1", "encoder.linear2", "head"))
    fake = FakeQuantizer(model, {"encoder.linear1": 4})
    data = ImageData(inputs, torch.zeros(32, dtype=torch.long))
    rows = torch.arange(32)
    plain, rough = (
        outputs_with_bits(model, quantizer, inputs, data, rows, torch.device("cpu"))
        for quantizer in (FakeQuantizer(model, {}), fake)
    )
    assert not torch.equal(plain, rough), "a look sees the bits"
    assert torch.backends.mha.get_fastpath_enabled() == before


def test_what_a_heavy_network_has_behind_it_is_kept_when_time_is_over() -> None:
    from dataclasses import replace

    found = net("digits")
    heavy = tuple(replace(layer, macs=10**12) for layer in found.ground.layers)
    space = build_space(replace(space_of(found).ground, layers=heavy), ("channels", "bits"))
    kept: list[Sensitivity] = []
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Stopped):
        measure_sensitivity(found.model, space, found.inputs(4), stop, keep=kept.append)
    assert len(kept) >= 2 and len(kept[-1].decisions()) > len(kept[0].decisions())
