"""Sensitivity: what each decision alone does to a teacher's answers, measured without changing the teacher."""

from __future__ import annotations

import copy
import functools
from dataclasses import replace

import hypothesis.strategies as st
import pytest
import torch
from forwards import forwards_counted
from hypothesis import example, given
from nets import CAN_MORE, SMALL, net, sensitivity_space, space_over

from autocompress.compression.recover import Stopped
from autocompress.compression.sensitivity import measure_sensitivity, sensitivity_inputs
from autocompress.errors import DataError
from autocompress.spaces.plain import from_plain, to_plain
from autocompress.spaces.sensitivity import Measured, Question, Sensitivity, at_part, of_questions, questions_of
from autocompress.spaces.surrogates import Surrogates


@pytest.fixture(autouse=True)
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exact arithmetic wherever the tests run."""
    monkeypatch.setattr("autocompress.compression.precision._cpu_has_fast_bf16", lambda: False)


@functools.cache
def measured(name: str, axes: tuple[str, ...] = ("channels", "bits"), inputs: int = 8) -> Sensitivity:
    """All figures of a network, measured once for the tests that look at them."""
    return measure_sensitivity(net(name).model, sensitivity_space(net(name), axes), net(name).inputs(inputs))


def nats_of(found: Sensitivity, row: str) -> dict[object, float]:
    return {m.option: m.nats for m in found.rows[row]}


@pytest.mark.parametrize("name", [*SMALL, "cifar_resnet20"])
def test_the_first_option_does_nothing_and_more_compression_never_does_less(name: str) -> None:
    axes = ("channels", "bits", "pattern") if name == "flatten" else ("channels", "bits")
    space, found = sensitivity_space(net(name), axes), measured(name, axes)
    assert set(found.known()) == set(questions_of(space)) and found.inputs == 8
    assert all(m.nats >= 0 for m in found.known().values())
    harms = found.of(space)
    assert set(harms) == {variable.name for variable in space.network}
    for variable in space.network:
        harm = harms[variable.name]
        assert len(harm) == len(variable.options) and harm[0] == 0.0
        for family in set(variable.families):
            rising = [h for h, f in zip(harm, variable.families, strict=True) if f == family]
            assert rising == sorted(rising), variable.name
    surrogates = Surrogates(harms)
    narrow, wide = space.uniform({"channels": 0.25, "bits": 4}), space.uniform({"bits": 8})
    assert surrogates.harm(space, narrow) > surrogates.harm(space, wide) > 0


@pytest.mark.parametrize("axis", ["bits", "channels", "pattern"])
def test_rows_are_layers_where_shapes_stay_and_variables_where_they_change(axis: str) -> None:
    space, found = sensitivity_space(net("flatten"), (axis,)), measured("flatten", ("channels", "bits", "pattern"))
    subjects = {name.partition(":")[2] for name in found.rows if name.startswith(f"{axis}:")}
    if axis == "channels":
        assert subjects == {variable.subject for variable in space.network}
    else:
        assert subjects == {layer for variable in space.network for layer in variable.layers}


def test_a_region_harms_as_much_as_its_layers_together() -> None:
    space, found = sensitivity_space(net("digits"), ("bits",)), measured("digits")
    region = max(space.network, key=lambda variable: len(variable.layers))
    assert len(region.layers) > 1
    for i, option in enumerate(region.options[1:], 1):
        total = sum(nats_of(found, f"bits:{layer}")[option] for layer in region.layers)
        assert found.of(space)[region.name][i] >= total * (1 - 1e-9)
    assert found.of(space)[region.name][1] == pytest.approx(
        sum(nats_of(found, f"bits:{layer}")[region.options[1]] for layer in region.layers)
    )


@given(
    st.dictionaries(st.integers(1, 7), st.floats(0, 5), min_size=1, max_size=5),
    st.lists(st.floats(0, 5), min_size=9, max_size=9),
)
@example({2: 3.6850693376116213, 3: 1.099259689931469}, [0.0] * 9)
def test_any_figures_become_harms_that_rise(counts: dict[int, float], figures: list[float]) -> None:
    space = sensitivity_space(net("digits"))
    group, layers = net("digits").context.groups[0], net("digits").context.layers
    rows = {
        f"bits:{layer.name}": tuple(
            Measured(width, width / 32, nats)
            for width, nats in zip((16, 8, 4), figures[3 * i : 3 * i + 3], strict=True)
        )
        for i, layer in enumerate(layers[:3])
    }
    name = f"channels:{group.name}"
    rows[name] = tuple(Measured(c * group.channels // 8, c / 8, nats) for c, nats in counts.items())
    found = Sensitivity(rows, inputs=1)
    harms = found.of(space)
    assert name in harms
    for steps in harms.values():
        assert steps[0] == 0.0 and list(steps) == sorted(steps)
    curve = [at_part(rows[name], part / 100) for part in range(101)]
    assert curve == sorted(curve, reverse=True) and curve[-1] == 0.0
    assert max(curve) == pytest.approx(max(counts.values()))
    assert from_plain(Sensitivity, to_plain(found)) == found


def test_between_two_sizes_the_logarithm_is_linear() -> None:
    row = (Measured(24, 0.75, 0.01), Measured(8, 0.25, 1.0))
    assert at_part(row, 0.5) == pytest.approx(0.1)
    assert at_part(row, 0.875) == pytest.approx(0.005), "to the full size in a straight line: it has no logarithm"
    assert at_part(row, 0.125) == at_part(row, 0.25) == 1.0


def test_long_rows_are_measured_in_part_and_the_rest_lies_between() -> None:
    digits = net("digits")
    fine = replace(sensitivity_space(digits).context, capabilities=replace(CAN_MORE, channel_multiple=4))
    space = space_over(fine, "channels")
    longest = max(space.of("channels"), key=lambda v: len(v.options))
    space = space_over(replace(fine, groups=tuple(g for g in fine.groups if g.name == longest.subject)), "channels")
    found = measure_sensitivity(digits.model, space, digits.inputs(8))
    figures, harm = nats_of(found, longest.name), found.of(space)[longest.name]
    assert len(longest.options) > 8 and len(figures) == 5
    assert {longest.options[1], longest.options[-1]} <= set(figures)
    for i, option in enumerate(longest.options[1:-1], 1):
        assert harm[i - 1] <= harm[i] <= harm[i + 1]
        if option not in figures:
            assert harm[i] > 0


def test_two_of_four_zeros_do_no_more_for_standing_behind_ninety_percent() -> None:
    space = sensitivity_space(net("digits"), axes=("pattern",))
    variable = space.network[0]
    options = list(zip(variable.options, variable.parts, strict=True))[1:]
    row = tuple(Measured(option, part, 0.55 if option == "2:4" else 1 - part) for option, part in options)
    rows = {variable.name: row}
    harm = dict(zip(variable.options, Sensitivity(rows).of(space)[variable.name], strict=True))
    assert harm["2:4"] == 0.55 and harm["unstructured:0.5"] == pytest.approx(0.5)
    assert harm["unstructured:0.9"] == pytest.approx(0.9)


def test_what_is_known_is_not_measured_again() -> None:
    digits = net("digits")
    inputs, space = digits.inputs(8), sensitivity_space(digits)
    known, lines = measured("digits"), []
    with forwards_counted() as ran:
        again = measure_sensitivity(digits.model, space, inputs, known=known, say=lines.append)
    assert again == known and not ran and not lines
    without = dict(list(known.known().items())[:-2])
    measure_sensitivity(digits.model, space, inputs, known=of_questions(without, 8), say=lines.append)
    assert lines == ["sensitivity: 2 decisions on 8 inputs"]
    lines.clear()
    fewer = measure_sensitivity(
        digits.model, sensitivity_space(digits, ("bits",)), digits.inputs(4), known=known, say=lines.append
    )
    assert lines and fewer.inputs == 4, "figures on other inputs are other figures"


@pytest.mark.parametrize("training", [False, True])
def test_the_teacher_is_left_as_it_is(training: bool) -> None:
    found = net("digits")
    teacher = copy.deepcopy(found.model).train(training)
    for parameter in teacher.parameters():
        parameter.requires_grad_(False)
    before = {name: value.clone() for name, value in teacher.state_dict().items()}
    own = [dict(module.__dict__) for module in teacher.modules()]
    measure_sensitivity(teacher, sensitivity_space(found), found.inputs(8))
    after = teacher.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(module.training == training for module in teacher.modules())
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    for module, old in zip(teacher.modules(), own, strict=True):
        assert module.__dict__.keys() == old.keys() and "forward" not in module.__dict__
        assert not module._forward_hooks and not module._forward_pre_hooks


def test_it_stops_when_asked_and_goes_on_from_what_was_kept() -> None:
    found = net("digits")
    space, inputs = sensitivity_space(found), found.inputs(4)
    kept: list[Sensitivity] = []
    with pytest.raises(Stopped):
        measure_sensitivity(found.model, space, inputs, stop=lambda: bool(kept), keep=kept.append)
    lines: list[str] = []
    again = measure_sensitivity(found.model, space, inputs, known=kept[-1], say=lines.append)
    assert again == measure_sensitivity(found.model, space, inputs)
    left = set(questions_of(space)) - set(kept[-1].known())
    assert left and lines[0] == f"sensitivity: {len(left)} decisions on 4 inputs"


def test_no_inputs_are_a_mistake_of_the_user() -> None:
    with pytest.raises(DataError, match="calibration inputs, got none"):
        measure_sensitivity(net("digits").model, sensitivity_space(net("digits")), net("digits").inputs(0))


def test_heavy_networks_are_looked_at_on_fewer_inputs() -> None:
    context = net("digits").context
    heavy = replace(context, layers=tuple(replace(layer, macs=10**9) for layer in context.layers))
    calibration = torch.zeros(512, 1, 2, 2)
    assert len(sensitivity_inputs(context, calibration)) == 256
    assert len(sensitivity_inputs(heavy, calibration)) == 64


@pytest.mark.parametrize(
    ("numbers", "count"), [(10, 256), (200_000, 256), (21 * 512 * 512, 12), (128 * 50_000, 10), (2**30, 8)]
)
def test_networks_of_large_answers_are_looked_at_on_fewer_inputs(numbers: int, count: int) -> None:
    assert len(sensitivity_inputs(net("digits").context, torch.zeros(512, 1, 2, 2), numbers)) == count


def test_figures_can_be_looked_up_by_question_and_merged() -> None:
    found = of_questions({Question("bits:a", 8): Measured(8, 0.25, 0.1)}, 4)
    other = of_questions({Question("bits:a", 8): Measured(8, 0.25, 0.2), Question("bits:b", 8): Measured(8, 1, 0)}, 4)
    assert found.rows == {"bits:a": (Measured(8, 0.25, 0.1),)}
    assert found.known()[Question("bits:a", 8)].nats == 0.1
    merged = found.merged(other)
    assert merged.known()[Question("bits:a", 8)].nats == 0.2 and merged.order("bits") == ("bits:b", "bits:a")


def test_what_a_heavy_network_has_behind_it_is_kept_when_time_is_over() -> None:
    found = net("digits")
    heavy = tuple(replace(layer, macs=10**12) for layer in found.context.layers)
    space = space_over(replace(sensitivity_space(found).context, layers=heavy), "channels", "bits")
    kept: list[Sensitivity] = []
    asked = 0

    def stop() -> bool:
        nonlocal asked
        asked += 1
        return asked > 3

    with pytest.raises(Stopped):
        measure_sensitivity(found.model, space, found.inputs(4), stop, keep=kept.append)
    assert len(kept) >= 2 and len(kept[-1].known()) > len(kept[0].known())
