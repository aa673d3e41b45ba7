"""Sites: a plan as one choice at each place where it decides."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from nets import net

from autocompress.spaces.axes.base import Ground
from autocompress.spaces.plan import Plan, Recovery
from autocompress.spaces.sites import Sites
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.target import Capabilities

CAN = Capabilities(latency_bits=(32, 16, 8), storage_bits=(4,), channel_multiple=8, one_float=False)


def space(name: str, one_float: bool = False) -> Space:
    found = net(name)
    can = Capabilities(CAN.latency_bits, CAN.storage_bits, CAN.channel_multiple, one_float=one_float)
    return build_space(Ground(found.ground.layers, found.ground.groups, can, storage_counts=True))


@pytest.mark.parametrize("name", ["digits", "cifar_resnet20"])
@given(data=st.data())
@settings(max_examples=30, deadline=None)
def test_what_is_assembled_is_chosen_again(name: str, data: st.DataObject) -> None:
    found = Sites(space(name))
    choices = tuple(data.draw(st.integers(0, len(site.options) - 1)) for site in found)
    plan = found.assemble(choices, Plan(recovery=Recovery(quantization_aware=True)))
    assert found.choices(plan) == choices
    assert found.assemble(found.choices(plan), plan) == plan


def test_the_first_options_are_the_teacher() -> None:
    found = Sites(space("digits"))
    assert found.assemble([0] * len(found), Plan()) == Plan()
    assert found.choices(Plan()) == (0,) * len(found)


def test_one_float_precision_goes_for_all_layers() -> None:
    found = Sites(space("digits", one_float=True))
    at = next(i for i, site in enumerate(found) if site.kind == "bits")
    choices = [0] * len(found)
    choices[at] = found.all[at].options.index(16)  # type: ignore[arg-type]
    plan = found.assemble(choices, Plan())
    assert set(plan.bits.values()) == {16} and len(plan.bits) == len(found.space.ground.layers)
