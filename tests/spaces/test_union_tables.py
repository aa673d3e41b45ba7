"""Embeddings of students of the user's own, and what such students are not offered."""

from __future__ import annotations

from dataclasses import replace

import pytest
from encoders import EXAMPLE, Encoder, context_of, unlike
from torch import Tensor, nn

from autocompress.spaces.axes.base import Axis
from autocompress.spaces.axes.bits import BitsAxis
from autocompress.spaces.axes.size import SizeAxis
from autocompress.spaces.axes.student import StudentAxis
from autocompress.spaces.context import SpaceContext
from autocompress.spaces.graph.capture import capture
from autocompress.spaces.network import Network, look_at_network
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.target import Capabilities
from autocompress.spaces.union import united
from autocompress.testing import AxisConformance

CAN = Capabilities((32, 8), (16, 4), 8, table_bits=(16, 8, 4))


class Named(nn.Module):
    """An encoder under a name, so that nothing in it is called as in another."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name
        self.add_module(name, unlike(Encoder(first=False)))

    def forward(self, tokens: Tensor, seen: Tensor) -> Tensor:
        found: Tensor = getattr(self, self.name)(tokens, seen)
        return found


def encoder(name: str) -> Network:
    return look_at_network(capture(Named(name).eval(), EXAMPLE), EXAMPLE)


def union(embeddings: bool = True) -> SpaceContext:
    context = context_of(encoder("teacher"), CAN)
    context = context if embeddings else replace(context, tables=(), no_tables=())
    return united(context, {"own": encoder("own")}, embeddings)


class TestBitsAxisWithEmbeddingsOfStudents(AxisConformance):
    def make_axis(self) -> Axis:
        return BitsAxis()

    def make_context(self) -> SpaceContext:
        return union()


def tables(space: Space) -> dict[str, str]:
    names = {table.name for table in space.context.tables}
    return {variable.layers[0]: variable.name for variable in space.of("bits") if names.issuperset(variable.layers)}


def test_embeddings_of_each_network_are_a_decision_of_its_own() -> None:
    space = Space(union(), [StudentAxis(), BitsAxis()])
    assert tables(space).keys() == {"teacher.words", "own.words"}
    wide = dict.fromkeys(tables(space).values(), 4)
    for student, name in (("teacher", "teacher.words"), ("own", "own.words")):
        spec = space.spec(space.repair(Plan({**wide, "student": student})))
        assert spec.bits == {name: 4}
    small = space.uniform({"bits": 4}, Plan({"student": "own"}))
    bits = space.spec(small).bits
    assert bits["own.words"] == 4 and all(layer.startswith("own.") for layer in bits)
    assert {"own.places", "teacher.places"} <= {entry.name for entry in space.left_out()}


def test_embeddings_that_a_study_does_not_ask_for_stay() -> None:
    assert not tables(Space(union(embeddings=False), [StudentAxis(), BitsAxis()]))


@pytest.mark.parametrize("axes", [(SizeAxis(),), ()])
def test_where_sizes_are_decided_it_is_said_that_students_look_at_whole_inputs(axes: tuple[Axis, ...]) -> None:
    space = Space(union(), [StudentAxis(), *axes])
    assert [entry.name for entry in space.left_out() if "full size" in entry.reason] == ["own"] * len(axes)
