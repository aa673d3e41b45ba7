"""What the constants of a graph are in the network: learned of students."""

from __future__ import annotations

import numpy as np
import torch
from onnx import TensorProto, helper, numpy_helper
from structures import STRUCTURES

from autocompress.compression.template_numbers import (
    Lesson,
    constants_of,
    learned,
    numbers_of,
    places_of,
    rewrite,
)
from autocompress.spaces.graph.capture import capture

PLACES = {"split": 1, "pad": 2, "a.weight": 1, "b.weight": 2}


def lesson(split: int, before: int, after: int, constants: tuple[int, ...]) -> Lesson:
    """A split before the second layer, and two numbers of a pad behind it; the constants are of three nodes."""
    numbers = {("split", 1, 0): split, ("pad", 1, 4): before, ("pad", 1, 5): after}
    uses = ((0, 1, 0), (1, 1, 0), (2, 1, 1), (2, 1, 5))
    return Lesson(numbers, dict(zip(uses, constants, strict=True)))


def test_a_constant_is_the_nearest_number_that_was_equal_to_it_in_every_network() -> None:
    teacher, at = lesson(4, 4, 4, (4, 4, 4, 4)), [1, 2, 2]
    one = lesson(2, 2, 2, (2, 4, 2, 2))  # the second constant is no number of the network
    expected = {(0, 1, 0): ("split", 1, 0), (2, 1, 1): ("pad", 1, 4), (2, 1, 5): ("pad", 1, 5)}
    assert learned(teacher, [one], PLACES, at) == expected, "in the order of the operator, where they are alike"
    other = lesson(2, 1, 3, (2, 4, 3, 1))
    expected |= {(2, 1, 1): ("pad", 1, 5), (2, 1, 5): ("pad", 1, 4)}
    assert learned(teacher, [one, other], PLACES, at) == expected, "the second student tells them apart"
    odd = lesson(2, 1, 3, (2, 7, 3, 1))
    assert (1, 1, 0) not in learned(teacher, [odd], PLACES, at), "it is equal to nothing"


def test_numbers_are_those_of_operators_and_sizes_of_parameters() -> None:
    graph = capture(STRUCTURES["shuffled"][0]().eval(), torch.zeros(1, 3, 8, 8))
    numbers, places = numbers_of(graph), places_of(graph)
    reshapes = [node.name for node in graph.graph.nodes if "reshape" in node.name]
    assert [numbers[reshapes[0], 1, p] for p in range(5)] == [-1, 2, 8, 8, 8]
    assert numbers["branch.0.weight", 0, -1] == 8 and numbers["last.bias", 0, -1] == 32
    assert places["stem.weight"] < places["branch.0.weight"] < places[reshapes[0]] < places["last.weight"]
    # without a graph, parameters alone tell
    plain = STRUCTURES["shuffled"][0]()
    assert set(numbers_of(plain)) == {k for k in numbers if k[2] == -1 and "." in k[0]}
    assert list(places_of(plain).values()) == sorted(places_of(plain).values())


def test_nodes_that_share_a_constant_get_their_own() -> None:
    sides = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * 2) for name in ("x", "z")]
    nodes = [
        helper.make_node("Reshape", ["x", "c"], ["y"], "one"),
        helper.make_node("Reshape", ["y", "c"], ["z"], "two"),
    ]
    shape = numpy_helper.from_array(np.array([-1, 4]), "c")
    model = helper.make_model(helper.make_graph(nodes, "g", sides[:1], sides[1:], [shape]))
    assert constants_of(model) == {(0, 1, 0): -1, (0, 1, 1): 4, (1, 1, 0): -1, (1, 1, 1): 4}
    rewrite(model, {(1, 1, 1): 3})
    assert constants_of(model) == {(0, 1, 0): -1, (0, 1, 1): 4, (1, 1, 0): -1, (1, 1, 1): 3}
    rewrite(model, {(0, 1, 1): 3})
    assert len(model.graph.initializer) == 2, "what nobody reads goes"
