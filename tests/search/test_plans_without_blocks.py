"""What a search says of plans that lack blocks, or have none of another network: what they have is all that counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray
from shallow_spaces import AXES, shallow_context, shallow_space
from synthetic_spaces import chain

from autocompress.search.propose.learned.coding import Coding
from autocompress.search.propose.learned.evolution import Evolution
from autocompress.search.propose.profile import ProfileEncoding
from autocompress.search.propose.role_classes import role_classes
from autocompress.search.technique_kinds.context import DesignContext
from autocompress.search.technique_kinds.scaling import SHALLOWER
from autocompress.spaces.graph.block import Block
from autocompress.spaces.network import Network
from autocompress.spaces.space import Space, build_space
from autocompress.spaces.union import united


def wide_space() -> Space:
    """Twelve convolutions with many widths each, of which the middle ones are blocks."""
    blocks = (Block(f"b{i}", f"b{i}", f"b{i}", (f"c{i}", f"c{i + 1}"), "block", i / 12) for i in (2, 5, 8))
    context = replace(chain([64] * 12, multiple=8).context, blocks=tuple(blocks), axes=AXES)
    return build_space(context, AXES)


def test_what_evolution_compares_are_rows_of_plans() -> None:
    """A row that narrows a dropped block is that of a plan without it: no model has ever seen such a row."""
    space = shallow_space()
    coding = Coding(space)
    seen: list[NDArray[np.float64]] = []

    def predict(rows: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        seen.extend(rows)
        return 1.0 + rows.sum(axis=1), -rows.sum(axis=1)

    start = np.array([coding.row(space.taught)])
    found = Evolution(coding, role_classes(space), seed=0).run(start, predict, generations=6, children=40)
    assert len(seen) > 40 and any("dropped" in coding.plan(row).choices.values() for row in seen)
    for row in (*seen, *found):
        np.testing.assert_array_equal(row, coding.row(coding.plan(row)))


@pytest.mark.parametrize("width", [0.5, 0.25])
def test_blocks_that_are_gone_have_no_width(width: float) -> None:
    space = wide_space()
    whole = space.uniform({"channels": width}, space.taught)
    shallow = space.repair(whole.changed({"depth:b2": "dropped", "depth:b5": "dropped"}))
    encoding = ProfileEncoding(space)
    wanted, found = encoding.encode(whole), encoding.encode(shallow)
    assert wanted is not None and found is not None
    curves = {name for name in wanted if name.startswith("channels.")}
    assert curves and {n: found[n] for n in curves} == pytest.approx({n: wanted[n] for n in curves}, abs=1e-6)
    assert encoding.decode(found) == shallow


@pytest.mark.parametrize("teachers", [0, 3])
def test_blocks_of_a_student_beside_the_teacher_are_none_of_the_teachers(teachers: int) -> None:
    teacher = shallow_context()
    layers = tuple(replace(layer, name=f"own.{layer.name}") for layer in teacher.layers)
    blocks = tuple(Block(f"own.b{i}", "", "", (f"own.c{i}",), "block", i / 8) for i in range(8))
    own = Network(layers, (), (), (), blocks=blocks)
    space = build_space(united(replace(teacher, blocks=teacher.blocks[:teachers]), {"own": own}), AXES)
    found = [steps[-1] for steps in SHALLOWER.designs(DesignContext(space))]
    assert bool(found) == (teachers > 1)
    for design in found:
        dropped = space.spec(design.plan).dropped
        assert dropped and design.label == f"without {len(dropped)} blocks"
