"""The profile encoding: any draw is a legal plan, any plan has numbers that come near to it."""

from __future__ import annotations

import math
from dataclasses import replace

import nets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legality import assert_legal, assert_runs, plans_of
from synthetic_spaces import chain, surrogates_over

from autocompress.search.propose.encoding import Choice, Parameter
from autocompress.search.propose.profile import ProfileEncoding, sensitivity_ranks
from autocompress.search.propose.role_classes import role_classes
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.target import Capabilities
from autocompress.spaces.variables import Number, Value

SLOW_TO_FIND = [HealthCheck.too_slow]
JOINT = ("channels", "pattern", "bits", "recovery")


def is_level(name: str) -> bool:
    """Whether a number is the level of a role's channels."""
    return name.startswith("channels.") and name.endswith(".level")


def draws(parameters: dict[str, Parameter]) -> st.SearchStrategy[dict[str, Value]]:
    """Latent numbers as any sampler may draw them."""
    return st.fixed_dictionaries(
        {
            name: st.floats(p.low, p.high) if isinstance(p, Number) else st.sampled_from(p.options)
            for name, p in parameters.items()
        }
    )


def inside(parameter: Parameter, value: Value) -> bool:
    if isinstance(parameter, Choice):
        return value in parameter.options
    return parameter.low <= float(value) <= parameter.high


def space(name: str) -> Space:
    return nets.space_over(replace(nets.net(name).context, storage_counts=True), *JOINT)


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=12, suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_every_draw_is_a_legal_plan_and_its_student_runs(name: str, data: st.DataObject) -> None:
    found = space(name)
    encoding = ProfileEncoding(found)
    latent = data.draw(draws(encoding.latent()))
    plan = encoding.decode(latent)
    assert plan == encoding.decode(dict(reversed(latent.items())))
    assert Plan.from_json(plan.to_json()) == plan
    spec = assert_legal(plan, found)
    assert spec.recovery is not None, "what a sampler draws is taught"
    assert_runs(name, spec)


@pytest.mark.parametrize("name", [*nets.SMALL, "cifar_resnet20"])
@settings(max_examples=20, suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_any_taught_plan_has_numbers_that_could_be_drawn(name: str, data: st.DataObject) -> None:
    found = space(name)
    encoding = ProfileEncoding(found)
    plan = found.repair(data.draw(plans_of(found)).changed(found.taught.choices))
    numbers = encoding.encode(plan)
    assert numbers is not None and numbers.keys() == encoding.latent().keys()
    assert all(inside(parameter, numbers[key]) for key, parameter in encoding.latent().items())
    again = encoding.decode(numbers)
    alone = [v for v in found if v.name in numbers]
    assert {v.name: again.choices.get(v.name) for v in alone} == {v.name: plan.choices.get(v.name) for v in alone}


@pytest.mark.parametrize("name", nets.SMALL)
@settings(max_examples=20, suppress_health_check=SLOW_TO_FIND)
@given(data=st.data())
def test_the_numbers_of_a_drawn_plan_give_a_plan_of_about_its_size(name: str, data: st.DataObject) -> None:
    found = space(name)
    encoding = ProfileEncoding(found)
    drawn = data.draw(draws(encoding.latent()))
    plan = encoding.decode(drawn)
    again = encoding.decode(encoding.encode(plan) or {})

    def size(of: Plan) -> float:
        variables = found.of("channels")
        parts = [v.parts[v.index(of.choices.get(v.name))] for v in variables]
        return math.exp(sum(map(math.log, parts)) / len(parts))

    assert size(again) == pytest.approx(size(plan), rel=0.4)


def test_the_numbers_of_uniform_widths_are_those_widths() -> None:
    found = chain([64] * 8, multiple=8)
    encoding = ProfileEncoding(found)
    for width in (1.0, 0.75, 0.5, 0.25):
        plan = found.uniform({"channels": width, "bits": 8}, found.taught)
        numbers = encoding.encode(plan)
        assert numbers is not None
        assert all(v == pytest.approx(width) for k, v in numbers.items() if is_level(k))
        assert all(abs(float(v)) < 1e-9 for k, v in numbers.items() if k.startswith("channels.") and "level" not in k)
        assert encoding.decode(numbers) == plan


def test_what_is_not_taught_is_not_described() -> None:
    found = space("digits")
    assert ProfileEncoding(found).encode(Plan({"bits:conv1": 8})) is None
    assert ProfileEncoding(found).encode(found.taught) is not None


@pytest.mark.parametrize("name", nets.ALL)
def test_full_width_without_slopes_changes_no_channels(name: str) -> None:
    found = nets.space_over(nets.net(name).context, "channels")
    encoding = ProfileEncoding(found)
    curve = {key: 1.0 if is_level(key) else 0.0 for key in encoding.latent() if key.startswith("channels.")}
    single = {key: p.options[0] for key, p in encoding.latent().items() if isinstance(p, Choice)}
    assert found.spec(encoding.decode({**curve, **single})).channels == {}


@pytest.mark.parametrize("name", ["digits", "cifar_resnet20"])
@settings(max_examples=30, suppress_health_check=SLOW_TO_FIND)
@given(widths=st.tuples(st.floats(0.1, 1), st.floats(0.1, 1)))
def test_a_wider_draw_keeps_no_fewer_channels(name: str, widths: tuple[float, float]) -> None:
    found = nets.space_over(nets.net(name).context, "channels")
    encoding = ProfileEncoding(found)
    names = [key for key in encoding.latent() if is_level(key)]
    single = {key: p.options[0] for key, p in encoding.latent().items() if isinstance(p, Choice)}
    narrow, wide = (found.spec(encoding.decode({**single, **dict.fromkeys(names, w)})).channels for w in sorted(widths))
    for variable in found.of("channels"):
        full = int(variable.options[0])
        assert narrow.get(variable.subject, full) <= wide.get(variable.subject, full)


def test_a_move_is_told_with_the_target_that_it_went_to() -> None:
    can = Capabilities((32, 8), (), 8)
    found = chain([32, 48, 32, 48, 10], targets={"one": can, "two": can})
    encoding = ProfileEncoding(found)
    assert encoding.latent()["target"] == Choice(("one", "two"))
    numbers = encoding.encode(found.taught.changed({"target": "two"}))
    assert numbers is not None and numbers["target"] == "two"
    assert (encoding.encode(found.taught) or {})["target"] == "one"


def test_ranks_go_from_the_least_to_the_most_sensitive() -> None:
    found = chain([32, 48, 32, 48, 10])
    known = surrogates_over(found, 0).sensitivity
    ranks = sensitivity_ranks(found, known)
    assert ranks.keys() == known.keys()
    for axis in ("channels", "bits"):
        of_axis = [rank for name, rank in ranks.items() if name.startswith(axis)]
        assert min(of_axis) == -1 and max(of_axis) == 1
    equal = {name: tuple(0.0 for _ in row) for name, row in known.items()}
    assert set(sensitivity_ranks(found, equal).values()) == {0.0}
    assert sensitivity_ranks(found, {}) == {}


def test_a_width_that_follows_sensitivity_spares_the_sensitive() -> None:
    found = chain([64] * 8, multiple=8, axes=("channels",))
    ranks = dict(zip((v.name for v in found.of("channels")), (1.0, -1.0, 0.0, 0.5), strict=False))
    plain, known = ProfileEncoding(found), ProfileEncoding(found, ranks)
    (tilt,) = (key for key in known.latent() if key.endswith(".sensitivity"))
    assert tilt not in plain.latent()
    values = {key: 0.5 if is_level(key) else 0.3 for key in plain.latent() if key.startswith("channels.")}

    def channels(encoding: ProfileEncoding, **more: float) -> dict[str, int]:
        return dict(found.spec(encoding.decode({**values, **more})).channels)

    assert channels(known, **{tilt: 0.0}) == channels(plain)
    tilted, flat = channels(known, **{tilt: 0.6}), channels(plain)
    (role,) = (c for c in role_classes(found) if tilt == f"{c.name}.sensitivity")
    for variable in (found.network[place] for place in role.places):
        before, after = flat.get(variable.subject, 64), tilted.get(variable.subject, 64)
        rank = ranks.get(variable.name, 0.0)
        assert after >= before if rank > 0 else after <= before
    assert tilted != flat
