"""Numbers of a template that follow from a student: sizes of reshapes, splits, pads and slices.

An exporter writes them as constants, whose origin it does not tell. A student that had to be exported by itself shows
it: a constant is that number of the network which it was equal to in the teacher, and in every student seen.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import fx, nn

from .template_weights import has_numbers

Use = tuple[int, int, int]
"""One integer in a graph of ONNX: index of the node, index of its input, index in the constant, or LENGTH."""
LENGTH = -1
"""Stands for how many equal numbers a float constant has, such as the scale of a norm without weights."""
Key = tuple[str, int, int]
"""One number of a network: an operator, its argument and the position in it, or a parameter, its dimension and -1."""


@dataclass(frozen=True)
class Lesson:
    """A network and its own export.

    Attributes:
        numbers: Of the network; see `numbers_of`.
        constants: Of its graph; see `constants_of`.
    """

    numbers: Mapping[Key, int]
    constants: Mapping[Use, int]


def constants_of(model: Any) -> dict[Use, int]:
    """Return every integer that a node of a graph (onnx.ModelProto) has as a constant, and how long float ones are.

    Weights that are still to be written are none.
    """
    from onnx import TensorProto, numpy_helper

    lists = {
        i.name: numpy_helper.to_array(i).tolist()
        for i in model.graph.initializer
        if i.data_type == TensorProto.INT64 and len(i.dims) == 1
    }
    floats = (i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT)
    vectors = [i for i in floats if len(i.dims) == 1 and has_numbers(i)]
    lengths = {i.name: i.dims[0] for i in vectors if i.dims[0] > 1 and np.ptp(numpy_helper.to_array(i)) == 0}
    inputs = [(n, slot, name) for n, node in enumerate(model.graph.node) for slot, name in enumerate(node.input)]
    found = {(n, slot, at): value for n, slot, name in inputs for at, value in enumerate(lists.get(name, ()))}
    return found | {(n, slot, LENGTH): lengths[name] for n, slot, name in inputs if name in lengths}


def same_places(template: Lesson, student: Lesson) -> bool:
    """Tell whether the graphs of a template and of a student have their constants in the same places.

    Weights of a student may happen to be equal numbers; those of a template, which are random, never are.
    """
    more = student.constants.keys() - template.constants.keys()
    return template.constants.keys() <= student.constants.keys() and all(use[2] == LENGTH for use in more)


def numbers_of(network: nn.Module) -> dict[Key, int]:
    """Return the integers in the arguments of a network's operators, and the sizes of its parameters and buffers."""
    found: dict[Key, int] = {}
    for node in network.graph.nodes if isinstance(network, fx.GraphModule) else ():
        for index, argument in enumerate(node.args if node.op == "call_function" else ()):
            listed = argument if isinstance(argument, list | tuple) else [argument]
            found.update({(node.name, index, p): value for p, value in enumerate(listed) if type(value) is int})
    for name, tensor in (*network.named_parameters(), *network.named_buffers()):
        found.update({(name, dim, -1): size for dim, size in enumerate(tensor.shape)})
    return found


def learned(
    teacher: Lesson, students: Sequence[Lesson], places: Mapping[str, int], at: Sequence[int]
) -> dict[Use, Key]:
    """Return the number of the network that each constant is, of those that differed from the teacher's.

    Args:
        teacher: The template's own.
        students: Those of students, with the same nodes in the graph.
        places: Of operators and parameters of the network; see `places_of`.
        at: The place of each node in the graph.
    """
    found: dict[Use, Key] = {}
    for use, value in teacher.constants.items():
        values = [student.constants[use] for student in students]
        if all(other == value for other in values):
            continue
        equal = [
            key
            for key, number in teacher.numbers.items()
            if number == value and all(s.numbers.get(key) == v for s, v in zip(students, values, strict=True))
        ]
        if equal:
            # widths often are alike throughout a network: what belongs together lies together, and in the same order
            taken = {key for other, key in found.items() if other[0] == use[0]}
            found[use] = min(equal, key=lambda key: (key in taken, abs(places.get(key[0], 0) - at[use[0]])))
    return found


def places_of(network: nn.Module) -> dict[str, int]:
    """Return after how many uses of parameters each operator comes, and each parameter itself, by name."""
    names = [name for name, _ in (*network.named_parameters(), *network.named_buffers())]
    if not isinstance(network, fx.GraphModule):
        return {name: place for place, name in enumerate(names)}
    owned: dict[str, list[str]] = defaultdict(list)
    for name in names:
        owned[name].append(name)
        owned[name.rpartition(".")[0]].append(name)
    found: dict[str, int] = {}
    place = 0
    for node in network.graph.nodes:
        if node.op in ("call_module", "get_attr"):
            used = owned.get(str(node.target), [])
            place += bool(used)
            for name in used:
                found.setdefault(name, place)
        found[node.name] = place
    return found


def rewrite(model: Any, values: Mapping[Use, int]) -> None:
    """Put other integers into the constants of a graph (onnx.ModelProto), or give these other lengths, in place."""
    from onnx import numpy_helper

    initializers = {i.name: i for i in model.graph.initializer}
    changed: dict[tuple[int, int], dict[int, int]] = defaultdict(dict)
    for (n, slot, position), value in values.items():
        changed[n, slot][position] = value
    for (n, slot), new in changed.items():
        node = model.graph.node[n]
        array = numpy_helper.to_array(initializers[node.input[slot]]).copy()
        if LENGTH in new:
            array = np.full(new[LENGTH], array[0])
        else:
            array[list(new)] = list(new.values())
        # nodes share constants that are equal in the teacher
        node.input[slot] = f"{node.name}_{slot}"
        model.graph.initializer.append(numpy_helper.from_array(array, node.input[slot]))
    used = {name for node in model.graph.node for name in node.input}
    kept = [i for i in model.graph.initializer if i.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
