"""Embeddings: which are found, and what a space decides about them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from encoders import EXAMPLE, Encoder, context_of, unlike
from torch import Tensor, nn

from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.target import Capabilities, bits_on, joint_capabilities
from autocompress.testing import AxisConformance

CAN = Capabilities((32, 8), (16, 4), 8, table_bits=(16, 8, 4))


class Tied(nn.Module):
    """An embedding whose table also answers, and one of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.words, self.kinds, self.inner = nn.Embedding(12, 8), nn.Embedding(3, 8), nn.Linear(8, 8)
        self.head = nn.Linear(8, 12, bias=False)
        self.head.weight = self.words.weight

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.inner(self.words(tokens) + self.kinds(tokens % 3)))


def encoder() -> Network:
    with torch.random.fork_rng(devices=[]):
        return look_at_network(capture(unlike(Encoder(first=False)), EXAMPLE), EXAMPLE)


class TestBitsAxisWithEmbeddings(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()

    def make_context(self) -> SpaceContext:
        return context_of(encoder(), CAN)


def test_embeddings_that_inputs_look_up_are_found() -> None:
    network = encoder()
    (table,) = network.tables
    assert (table.name, table.kind, table.macs, table.area, table.shape) == ("words", "embedding", 0, 6, (20, 16))
    (entry,) = network.no_tables
    assert entry.name == "places", "its rows are the same for all inputs: a file holds them as numbers"
    assert not {"words", "places"} & {layer.name for layer in network.layers}


def test_a_table_that_is_a_weight_elsewhere_stays() -> None:
    tokens = torch.arange(6)[None]
    network = look_at_network(capture(Tied().eval(), tokens), tokens)
    assert [table.name for table in network.tables] == ["kinds"]
    (entry,) = network.no_tables
    assert entry.name == "words" and "head" in entry.reason


def test_embeddings_are_a_decision_of_their_own_where_a_study_asks_for_them() -> None:
    network = encoder()
    asked, silent = (
        Space(c, [BitsAxis()]) for c in (context_of(network, CAN), replace(context_of(network, CAN), tables=()))
    )
    before = [variable.name for variable in silent]
    assert [variable.name for variable in asked] == [*before, "bits:words"]
    spec = asked.spec(Plan({"bits:words": 4}))
    assert spec.bits == {"words": 4}
    assert asked.variable("bits:words").options == (32, 16, 8, 4)  # type: ignore[union-attr]


@pytest.mark.parametrize("keep", [frozenset(), frozenset({"words"})])
def test_what_no_file_can_hold_or_the_user_keeps_is_not_offered(keep: frozenset[str]) -> None:
    can = CAN if keep else Capabilities((32, 8), (), 8)
    space = Space(replace(context_of(encoder(), can), keep=keep), [BitsAxis()])
    assert space.variable("bits:words") is None
    if not keep:
        assert any(entry.name == "bits of embeddings" for entry in space.left_out())


def test_float_layers_in_one_precision_leave_embeddings_alone() -> None:
    can = Capabilities((32, 16, 8), (), 8, one_float=True, table_bits=(8,))
    space = Space(context_of(encoder(), can), [BitsAxis()])
    half = space.spec(space.uniform({"bits": 16}))
    assert half.bits.pop("words", 32) == 32 and set(half.bits.values()) == {16}
    both = space.spec(Plan({**space.uniform({"bits": 16}).choices, "bits:words": 8}))
    assert both.bits["words"] == 8 and both.bits.keys() > half.bits.keys()


def test_targets_store_embeddings_as_they_can() -> None:
    few = Capabilities((32,), (), 8, table_bits=(16, 8))
    none = Capabilities((32, 8), (), 8)
    assert bits_on(few, {"words": 4, "fc": 8}, ["fc"], {"words"}) == {"words": 8}
    assert bits_on(none, {"words": 4, "fc": 8}, ["fc"], {"words"}) == {"fc": 8}
    assert joint_capabilities([CAN, few], any_of=False).table_bits == (16, 8)
    assert joint_capabilities([CAN, few], any_of=True).table_bits == (16, 8, 4)
