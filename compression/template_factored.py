"""Templates of students with factored layers, made of the one with whole layers: an export takes seconds.

A search tries many sets of factored layers, and each is a graph of its own. Whether a file that was made so is right
shows where each file is held against its student.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from ..spaces.factors import SEPARABLE, Factor, names_of_parts
from .export import Template
from .template_numbers import Key, Lesson, constants_of
from .template_weights import to_be_written

SLOT = 1
"""The input of a node that holds the weight of its layer."""


@dataclass(frozen=True)
class _Layer:
    """A layer that is factored, with one of the places where its weight is stored: as many as it has uses, or fewer.

    Attributes:
        name: Its name.
        initializer: Name of its weight in the graph.
        transposed: Whether that is stored so.
        end: What the names of the initializers of its parts end with.
        separable: Whether its parts are depthwise and pointwise.
        shape: Of the weight, [out, in, ...].
    """

    name: str
    initializer: str
    transposed: bool
    end: str
    separable: bool
    shape: tuple[int, ...]

    def weights(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the weights of both parts, as many channels between them as can be, by name."""
        outputs, inputs, *kernel = self.shape
        first, second = (f"{part}.weight" for part in names_of_parts(self.name))
        between = inputs if self.separable else min(inputs, outputs)
        down = (between, 1 if self.separable else inputs, *kernel)
        return {first: down, second: (outputs, between, *(1 for _ in kernel))}

    def renamed(self, key: Key) -> Key:
        """Return the number of a student that is what this one, an operator's or a parameter's size, was before."""
        name, dim, position = key
        first, second = names_of_parts(self.name)
        if name == f"{self.name}.bias" or (name == f"{self.name}.weight" and dim == 0):
            return name.replace(self.name, second, 1), dim, position
        if name == f"{self.name}.weight":
            return f"{first}.weight", 0 if self.separable and dim == 1 else dim, position
        return key


def factor_template(whole: Template, factors: Mapping[str, Factor]) -> Template | None:
    """Return the template of a network with factored layers, None where they are not found in the graph.

    Args:
        whole: The template of the network with whole layers; it is not changed.
        factors: Layer name -> what becomes of it.
    """
    import onnx

    layers = _layers(whole, factors)
    if layers is None:
        return None
    by_initializer = {layer.initializer: layer for layer in layers}
    model = onnx.ModelProto()
    model.CopyFrom(whole.model)
    nodes: list[Any] = []
    number: dict[int, int] = {}
    named: dict[str, str] = {}
    for i, node in enumerate(whole.model.graph.node):
        number[i] = len(nodes)
        layer = by_initializer.get(node.input[SLOT]) if len(node.input) > SLOT else None
        parts = [node] if layer is None else list(_parts(node, layer))
        nodes += parts
        if layer is None:
            named |= {node.name: whole.layers[node.name]} if node.name in whole.layers else {}
        else:
            named |= {part.name: name for part, name in zip(parts, names_of_parts(layer.name), strict=True)}
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    kept = [i for i in model.graph.initializer if i.name not in by_initializer]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, *(part for layer in layers for part in _initializers(layer))])
    seconds = {layer.name: names_of_parts(layer.name)[1] for layer in layers}
    biases = {f"{name}.bias": f"{second}.bias" for name, second in seconds.items()}
    sources = {n: (biases.get(p, p), t) for n, (p, t) in whole.sources.items() if n not in by_initializer}
    sources |= {f"{name}{layer.end}": (name, layer.transposed) for layer in layers for name in layer.weights()}
    return replace(
        whole,
        model=model,
        pairs=tuple((seconds.get(layer, layer), norm) for layer, norm in whole.pairs),
        sources=sources,
        layers=named,
        own=Lesson(_numbers(whole.own.numbers, layers), constants_of(model)),
        seen=(),
        numbers={(number[use[0]], *use[1:]): _renamed(key, layers) for use, key in whole.numbers.items()},
    )


def _layers(whole: Template, factors: Mapping[str, Factor]) -> list[_Layer] | None:
    """Return how these layers lie in a graph; None where they do otherwise than as one node for each use."""
    graph = whole.model.graph
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return None
    mixed = {parameter for rows in whole.rows.values() for parameter, _ in rows}
    found = []
    for name, factor in factors.items():
        weights = [(i, t) for i, (parameter, t) in whole.sources.items() if parameter == f"{name}.weight"]
        if not weights or mixed & {f"{name}.weight", f"{name}.bias"}:
            return None
        for i, (initializer, transposed) in enumerate(weights):
            readers = [node for node in graph.node if initializer in node.input]
            usable = (_usable(node, initializer, factor, whole.layers.get(node.name)) for node in readers)
            if not readers or not all(usable):
                return None
            dims = next(tuple(i.dims) for i in graph.initializer if i.name == initializer)
            shape, end = dims[::-1] if transposed else dims, f":{i}" if i else ""
            found.append(_Layer(name, initializer, transposed, end, factor.kind == SEPARABLE, shape))
    return found


def _usable(node: Any, initializer: str, factor: Factor, layer: str | None) -> bool:
    turned = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    slots = [slot for slot, name in enumerate(node.input) if name == initializer]
    return layer is not None and slots == [SLOT] and not turned and (factor.kind != SEPARABLE or node.op_type == "Conv")


def _parts(node: Any, layer: _Layer) -> Iterator[Any]:
    """Yield two nodes that do together what one did."""
    import onnx

    first_weight, second_weight = (f"{name}{layer.end}" for name in layer.weights())
    between = f"{node.output[0]}.{node.name}.between"
    first = onnx.NodeProto()
    first.CopyFrom(node)
    first.name = f"{node.name}.0"
    first.input[:] = [node.input[0], first_weight]
    first.output[:] = [between]
    yield first
    inputs = [between, second_weight, *node.input[SLOT + 1 :]]
    if node.op_type == "Conv":
        kernel = [1] * len(layer.shape[2:])
        yield onnx.helper.make_node("Conv", inputs, node.output, f"{node.name}.1", kernel_shape=kernel, group=1)
        return
    second = onnx.NodeProto()
    second.CopyFrom(node)
    second.name = f"{node.name}.1"
    second.input[:] = inputs
    yield second


def _initializers(layer: _Layer) -> Iterator[Any]:
    """Yield the weights of both parts, without their numbers: those are written for each student."""
    for name, shape in layer.weights().items():
        yield to_be_written(f"{name}{layer.end}", shape[::-1] if layer.transposed else shape)


def _renamed(key: Key, layers: list[_Layer]) -> Key:
    for layer in layers:
        key = layer.renamed(key)
    return key


def _numbers(numbers: Mapping[Key, int], layers: list[_Layer]) -> dict[Key, int]:
    gone = {f"{layer.name}.weight" for layer in layers}
    found = {_renamed(key, layers): value for key, value in numbers.items() if key[0] not in gone}
    for layer in layers:
        for name, shape in layer.weights().items():
            found |= {(name, dim, -1): size for dim, size in enumerate(shape)}
    return found
