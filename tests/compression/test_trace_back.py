"""Where rows of an exported graph come from, where numbers of several parameters are alike."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper

from autocompress.compression.trace_back import rows_of

Values = dict[str, NDArray[Any]]


def numbers(count: int, seed: int) -> NDArray[np.float32]:
    return np.random.default_rng(seed).random(count).astype(np.float32)


def holding(*arrays: NDArray[np.float32]) -> ModelProto:
    given = [numpy_helper.from_array(array, f"made_{i}") for i, array in enumerate(arrays)]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, [None])
    node = helper.make_node("Identity", ["made_0"], ["y"])
    return helper.make_model(helper.make_graph([node], "g", [], [output], given))


def gates() -> tuple[Values, NDArray[np.float32], list[tuple[str, int]]]:
    """Biases of a recurrent layer of four gates of eight, and what a file makes of them, with each number's origin."""
    values: Values = {
        "cell.bias_ih_l0": numbers(32, 0),
        "cell.bias_hh_l0": numbers(32, 1),
        "head.bias": numbers(500, 2),
    }
    rows = [
        (name, gate * 8 + i)
        for name in ("cell.bias_ih_l0", "cell.bias_hh_l0")
        for gate in (0, 3, 1, 2)
        for i in range(8)
    ]
    return values, np.array([values[name][i] for name, i in rows]), rows


def test_equal_numbers_are_told_apart_by_their_layer_and_by_their_neighbours() -> None:
    values, _, rows = gates()
    values["head.bias"][[0, 7, 300]] = values["cell.bias_ih_l0"][[3, 8, 31]]
    values["cell.bias_hh_l0"][4] = values["cell.bias_ih_l0"][20]
    values["cell.bias_hh_l0"][5] = values["cell.bias_ih_l0"][21]
    made = np.array([values[name][i] for name, i in rows]).reshape(1, 64)
    assert rows_of(holding(made), values, {}) == {"made_0": tuple(rows)}


def test_numbers_that_cannot_be_told_apart_are_no_rows_but_of_a_file_that_keeps_them() -> None:
    values: Values = {"cell.bias_ih_l0": np.full(8, 0.5, np.float32), "cell.bias_hh_l0": np.full(8, 0.5, np.float32)}
    model = holding(np.full((1, 16), 0.5, np.float32))
    assert rows_of(model, values, {}) == {}
    (found,) = rows_of(model, values, {}, exact=True).values()
    assert {name.partition(".")[0] for name, _ in found} == {"cell"}


def test_rows_of_several_layers_are_found() -> None:
    values: Values = {f"{name}.weight": numbers(12, seed).reshape(3, 4) for seed, name in enumerate("qkv")}
    made = np.concatenate([values[f"{name}.weight"] for name in "qkv"])
    found = rows_of(holding(made), values, {})
    assert found == {"made_0": tuple((f"{name}.weight", i) for name in "qkv" for i in range(3))}
