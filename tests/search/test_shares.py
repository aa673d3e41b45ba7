"""The share encoding: a latency budget and who pays for it, which a sampler can draw."""

from __future__ import annotations

from dataclasses import replace

import nets
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from legality import assert_legal
from synthetic_spaces import LayerByLayer, chain, surrogates_over
from test_profile_encoding import draws

from autocompress.search.propose.shares import ShareEncoding, reach_ms
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.spaces.target import Capabilities
from autocompress.spaces.variables import Number

TAUGHT = {"recovery:temperature": 4.0, "recovery:alpha": 0.5, "recovery:learning_rate": 0.01}


def small(seed: int) -> tuple[Space, Surrogates]:
    bits = (32, 16, 8) if seed % 2 else (32, 8)
    space = chain([32, 48, 32, 48, 10], bits=bits, one_float=seed % 3 == 1)
    return space, surrogates_over(space, seed)


def share_encoding(space: Space, surrogates: Surrogates, starts: dict[str, Plan] | None = None) -> ShareEncoding:
    return ShareEncoding(space, surrogates, *reach_ms(space, surrogates, starts or {"": Plan()}))


@pytest.mark.parametrize("name", nets.ALL)
@settings(max_examples=8, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_draw_is_a_legal_plan(name: str, data: st.DataObject) -> None:
    context = replace(nets.net(name).context, storage_counts=True)
    space = nets.space_over(context, "channels", "pattern", "bits", "recovery")
    encoding = share_encoding(space, surrogates_over(space, 3))
    latent = data.draw(draws(encoding.latent()))
    plan = encoding.decode(latent)
    spec = assert_legal(plan, space)
    assert plan == encoding.decode(dict(reversed(latent.items()))), "the same draw gives the same plan"
    assert spec.recovery is not None
    assert spec.recovery.temperature == pytest.approx(float(latent["recovery:temperature"]), rel=1e-2)


def test_a_lower_budget_gives_a_faster_plan_down_to_the_fastest() -> None:
    space, surrogates = small(1)
    low, high = reach_ms(space, surrogates, {"": Plan()})
    encoding = ShareEncoding(space, surrogates, low / 2, high)
    assert encoding.latent()["budget_ms"] == Number(low / 2, high, log=True)
    predict_ms = surrogates.latency["here"].predict_ms
    for part in (0.5, 1.0, 1.5, 3.0):
        plan = encoding.decode(encoding.neutral(part * low, space.taught))
        assert predict_ms(space.spec(plan)) <= max(low, part * low) * 1.005
    assert encoding.decode({"budget_ms": high, **TAUGHT}).of("channels") == {}


def test_neutral_numbers_decide_about_the_rest_as_the_other_plan_does() -> None:
    space, surrogates = small(0)
    encoding = share_encoding(space, surrogates)
    like = space.repair(space.taught.changed({"recovery:alpha": 0.25, "recovery:quantization": "aware", "bits:c0": 8}))
    numbers = encoding.neutral(1e9, like)
    assert numbers.keys() == encoding.latent().keys()
    assert numbers["recovery:alpha"] == 0.25 and numbers["recovery:quantization"] == "aware"
    top = encoding.latent()["budget_ms"]
    assert isinstance(top, Number) and numbers["budget_ms"] == top.high, "no more than is drawn"


def test_it_says_nothing_of_plans_that_it_did_not_draw() -> None:
    space, surrogates = small(0)
    assert share_encoding(space, surrogates).encode(space.taught) is None


def test_plans_choose_their_target_and_each_has_its_own_latency() -> None:
    targets = {"here": Capabilities((32, 8), (), 16), "there": Capabilities((32, 16), (), 16)}
    space = chain([32, 48, 32, 48, 10], bits=(32, 16, 8), targets=targets)
    clock = LayerByLayer(space)
    surrogates = replace(surrogates_over(space, 0), latency={"here": clock, "there": clock})
    encoding = share_encoding(space, surrogates, {name: space.repair(Plan({"target": name})) for name in targets})
    latent = {"budget_ms": 0.5 * clock.predict_ms(StudentSpec()), **TAUGHT}
    assert "target" in encoding.latent()
    for target, bits in (("here", {8}), ("there", {16})):
        spec = space.spec(encoding.decode({**latent, "target": target}))
        assert spec.target == target and set(spec.bits.values()) <= bits


def test_a_plan_for_several_targets_keeps_the_budget_on_each() -> None:
    space, surrogates = small(0)

    class Slow(LayerByLayer):
        def predict_ms(self, spec: StudentSpec) -> float:
            return 3 * super().predict_ms(spec) + 0.5 * len(spec.bits)

    both = {"here": surrogates.latency["here"], "there": Slow(space)}
    encoding = share_encoding(space, replace(surrogates, latency=both))
    teacher = {name: guess.predict_ms(StudentSpec()) for name, guess in both.items()}
    spec = space.spec(encoding.decode({"budget_ms": 0.5 * teacher["here"], **TAUGHT}))
    assert all(guess.predict_ms(spec) <= 0.5051 * teacher[name] for name, guess in both.items())


def test_what_the_predictor_learns_changes_the_answers() -> None:
    space, surrogates = small(0)

    class Learner(LayerByLayer):
        factor = 1.0

        def predict_ms(self, spec: StudentSpec) -> float:
            return self.factor * super().predict_ms(spec)

    learner = Learner(space)
    encoding = ShareEncoding(space, replace(surrogates, latency={"here": learner}), 0.1, 10.0)
    latent = encoding.neutral(0.5 * learner.predict_ms(StudentSpec()), space.taught)
    before = encoding.decode(latent)
    object.__setattr__(learner, "factor", 1.5)
    after = encoding.decode(latent)
    assert surrogates.harm(space, after) > surrogates.harm(space, before)
    assert learner.predict_ms(space.spec(after)) <= float(latent["budget_ms"]) * 1.005
