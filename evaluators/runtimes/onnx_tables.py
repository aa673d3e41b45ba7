"""Embeddings in fewer bits: rows are looked up as they are stored and become numbers behind that.

So a table is as small in memory as it is in the file. All operators are those of plain ONNX.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

TOPS = {8: 127, 4: 7}
"""Bits -> the largest code; grids are symmetric, one for each row."""
TABLE_BITS = (16, 8, 4)
"""The widths that there is a form for."""


def store_tables(model: Any, tables: Mapping[str, str], bits: Mapping[str, int]) -> Any:
    """Return a copy of a graph with embeddings in fewer bits, or the graph itself where none has any.

    16 bits are float16. 8 and 4 bits are codes with one scale for each row. Two codes of 4 bits share a byte, one of
    the first half of the row and one of the second; a row of odd length has one code more, which is cut off. A table
    that other nodes read as well stays as it is.

    Args:
        model: The graph (onnx.ModelProto).
        tables: Name of a Gather node -> the embedding whose rows it looks up.
        bits: Layer name -> 16, 8 or 4.
    """
    import onnx
    from onnx import numpy_helper

    lookups = [node for node in model.graph.node if bits.get(tables.get(node.name, ""), 32) in TABLE_BITS]
    initializers = {each.name: each for each in model.graph.initializer}
    readers: dict[str, set[str]] = {}
    for node in model.graph.node:
        for name in node.input:
            readers.setdefault(name, set()).add(node.name)
    names = {node.name for node in lookups}
    able = {n.name: n for n in lookups if n.input[0] in initializers and readers[n.input[0]] <= names}
    if not able:
        return model
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    stored: dict[str, list[tuple[str, NDArray[Any]]]] = {}
    nodes = []
    for node in copy.graph.node:
        if node.name not in able:
            nodes.append(node)
            continue
        table = node.input[0]
        if table not in stored:
            width = bits[tables[node.name]]
            stored[table] = _stored(table, numpy_helper.to_array(initializers[table]), width)
        nodes += _looked_up(node, [name for name, _ in stored[table]], int(initializers[table].dims[1]))
    left = [each for each in copy.graph.initializer if each.name not in stored]
    made = [numpy_helper.from_array(array, name) for parts in stored.values() for name, array in parts]
    for held, now in ((copy.graph.initializer, [*left, *made]), (copy.graph.node, nodes)):
        kept = [type(each).FromString(each.SerializeToString()) for each in now]
        del held[:]
        held.extend(kept)
    return copy


def _stored(name: str, table: NDArray[Any], width: int) -> list[tuple[str, NDArray[Any]]]:
    # the initializers that hold a table [rows, numbers], the one whose name says the width first
    if width == 16:
        return [(f"{name}_fp16", table.astype(np.float16))]
    top = TOPS[width]
    scale = np.maximum(np.abs(table).max(axis=1, keepdims=True), 1e-12).astype(np.float32) / top
    codes = np.clip(np.rint(table / scale), -top, top).astype(np.int8)
    if width == 8:
        return [(f"{name}_quantized", codes), (f"{name}_scale", scale)]
    first, second = np.split(np.pad((codes + 8).astype(np.uint8), ((0, 0), (0, codes.shape[1] % 2))), 2, axis=1)
    return [(f"{name}_int4", first * 16 + second), (f"{name}_scale", scale)]


def _looked_up(node: Any, stored: list[str], numbers: int) -> list[Any]:
    """Return the nodes that stand in for a lookup [...] -> [..., numbers]; the last one gives its output."""
    from onnx import TensorProto, helper

    nodes: list[Any] = []

    def add(kind: str, given: list[str], what: str, **attributes: Any) -> str:
        name = f"{node.name}_{what}"
        nodes.append(helper.make_node(kind, given, [name], name, **attributes))
        return name

    def constant(value: float, what: str) -> str:
        return add("Constant", [], what, value_float=value)

    def whole(value: int, what: str) -> str:
        return add("Constant", [], what, value_ints=[value])

    table, index = stored[0], node.input[1]
    found = add("Cast", [add("Gather", [table, index], "rows", axis=0)], "float", to=TensorProto.FLOAT)
    if table.endswith("_int4"):
        first = add("Floor", [add("Mul", [found, constant(1 / 16, "sixteenth")], "shifted")], "first")
        sixteen = add("Mul", [first, constant(16.0, "sixteen")], "high")
        halves = [first, add("Sub", [found, sixteen], "second")]
        codes = add("Concat", halves, "codes", axis=-1)
        if numbers % 2:
            ends = whole(0, "start"), whole(numbers, "end"), whole(-1, "axis")
            codes = add("Slice", [codes, *ends], "row")
        found = add("Sub", [codes, constant(8.0, "zero")], "centred")
    if len(stored) > 1:
        found = add("Mul", [found, add("Gather", [stored[1], index], "scales", axis=0)], "numbers")
    nodes[-1].output[0] = node.output[0]
    return nodes
