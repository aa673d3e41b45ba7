"""4-bit weights of ONNX files take half a byte each, and are read as they were written."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from autocompress.evaluators.runtimes.onnx_int4 import int4_tensor

CODES = st.lists(st.integers(-8, 7), min_size=1, max_size=65)


@given(CODES)
def test_codes_are_read_as_they_were_written(codes: Sequence[int]) -> None:
    tensor = int4_tensor("w", np.array(codes, np.int8))
    assert numpy_helper.to_array(tensor).astype(int).tolist() == list(codes)
    assert len(tensor.raw_data) == (len(codes) + 1) // 2


@pytest.mark.parametrize("shape", [(3, 5), (4, 2, 3, 3), (7,)])
def test_onnx_runtime_reads_them_so_too(shape: tuple[int, ...]) -> None:
    import onnxruntime

    codes = np.random.default_rng(0).integers(-8, 8, shape).astype(np.int8)
    scale = numpy_helper.from_array(np.float32(1.0), "scale")
    node = helper.make_node("DequantizeLinear", ["w", "scale"], ["y"])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    graph = helper.make_graph([node], "g", [], [y], [int4_tensor("w", codes), scale])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    assert np.array_equal(session.run(None, {})[0], codes.astype(np.float32))
