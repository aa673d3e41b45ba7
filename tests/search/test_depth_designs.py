"""How a search describes and designs students that lack blocks, of networks that have many."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from autocompress.search.propose.counts import Counted, evenly
from autocompress.search.propose.profile import ProfileEncoding
from autocompress.search.propose.shallower import shallower
from autocompress.spaces.axes.channels import ChannelsAxis
from autocompress.spaces.axes.depth import DepthAxis
from autocompress.spaces.axes.recovery import RecoveryAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.block import Block
from autocompress.spaces.layers import Layer
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.target import Capabilities

LAYERS = 12


def encoder() -> Space:
    """A space over the blocks of an encoder of twelve layers, attention and feed-forward in turn."""
    names = [f"layers.{i}.{part}" for i in range(LAYERS) for part in ("attention", "feed")]
    last = len(names) - 1
    layers = tuple(Layer(name, "linear", i / last, 64, 64, 1, (8, 8)) for i, name in enumerate(names))
    roles = "attention block", "feed-forward block"
    blocks = tuple(Block(n, n, n, (n,), roles[i % 2], i / last) for i, n in enumerate(names))
    context = SpaceContext(layers, (), Capabilities((32,), (), 8), blocks=blocks, axes=("depth", "channels"))
    return Space(context, [DepthAxis(), ChannelsAxis(), RecoveryAxis()])


SPACE = encoder()
DEPTH = SPACE.of("depth")


def dropped(plan: Plan) -> list[str]:
    return [name for name, option in plan.of("depth").items() if option == "dropped"]


def test_a_network_of_many_blocks_is_described_in_two_numbers_for_each_role() -> None:
    found = {name for name in ProfileEncoding(SPACE).latent() if name.startswith("depth")}
    roles = ("attention block", "feed-forward block")
    assert found == {f"depth.{role}.{what}" for role in roles for what in ("level", "order")}


@given(st.sets(st.sampled_from([v.name for v in DEPTH])))
def test_a_described_plan_lacks_as_many_blocks_of_each_role(gone: set[str]) -> None:
    encoding = ProfileEncoding(SPACE)
    plan = SPACE.repair(Plan(dict.fromkeys(gone, "dropped")).changed(SPACE.taught.choices))
    numbers = encoding.encode(plan)
    assert numbers is not None and numbers.keys() == encoding.latent().keys()
    again = encoding.decode(numbers)
    for part in ("attention", "feed"):
        assert sum(part in name for name in dropped(again)) == sum(part in name for name in dropped(plan))


@given(st.integers(0, LAYERS), st.booleans())
def test_the_least_sensitive_or_evenly_spaced_ones_go(count: int, even: bool) -> None:
    attention = tuple(v for v in DEPTH if v.role == "attention block")
    order = sorted(range(LAYERS), key=lambda i: (i * 5) % LAYERS)
    ranks = {attention[at].name: 2 * place / (LAYERS - 1) - 1 for place, at in enumerate(order)}
    described = Counted("depth", attention, ranks)
    options = described.decode({"depth.level": 1 - count / LAYERS, "depth.order": 0.0 if even else 1.0})
    gone = {i for i, v in enumerate(attention) if options[v.name] == "dropped"}
    assert gone == (set(evenly(LAYERS, count)) if even else set(order[:count]))
    assert described.decode(described.encode(Plan(options))) == options


@pytest.mark.parametrize(
    ("places", "count", "found"), [(6, 3, [1, 3, 5]), (7, 1, [3]), (12, 4, [1, 4, 7, 10]), (3, 0, [])]
)
def test_evenly_spread(places: int, count: int, found: list[int]) -> None:
    assert evenly(places, count) == found


def test_the_initial_design_drops_every_second_and_every_third_layer() -> None:
    half, third = (design.plan for design in shallower(SPACE))
    names = [f"layers.{i}.{part}" for i in range(1, LAYERS, 2) for part in ("attention", "feed")]
    assert sorted(dropped(half)) == sorted(set(names) - {"layers.11.feed"}), "the last block of all stays"
    assert {name.split(".")[1] for name in dropped(third)} == {"1", "4", "7", "10"}
    assert all(SPACE.spec(plan).recovery is not None for plan in (half, third))


def test_without_the_axis_nothing_is_designed() -> None:
    space = Space(replace(SPACE.context, axes=("channels",)), [ChannelsAxis(), RecoveryAxis()])
    assert not list(shallower(space))
