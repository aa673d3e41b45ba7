"""A runtime that executes the ONNX graph with NumPy: slow, and the same everywhere."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from autocompress.errors import MeasurementError, RuntimeUnavailable, one_line
from autocompress.evaluators.runtimes.base import Availability, BuildRequest, TensorInfo
from autocompress.spaces.target import Capabilities, Target


class LoadedGraph:
    """A graph that `onnx.reference` executes, operator by operator."""

    def __init__(self, path: Path, model: Any) -> None:
        from onnx.helper import tensor_dtype_to_np_dtype
        from onnx.reference import ReferenceEvaluator

        self._path, self._session = path, ReferenceEvaluator(model)
        self.inputs: tuple[TensorInfo, ...] = ()
        for given in model.graph.input:
            kind = given.type.tensor_type
            shape = tuple(d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim)
            self.inputs += (TensorInfo(given.name, shape, tensor_dtype_to_np_dtype(kind.elem_type)),)

    def run(self, *arrays: np.ndarray) -> np.ndarray:
        """Return the first output."""
        try:
            return self._session.run(None, {i.name: a for i, a in zip(self.inputs, arrays, strict=True)})[0]
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error


class NumpyRuntime:
    """Executes ONNX graphs with NumPy, in 32 bits."""

    name = "numpy"
    suffix = ".numpy"
    synchronous = True

    def available(self) -> Availability:
        """Return whether onnx can be imported."""
        try:
            import onnx
        except ImportError as error:
            return Availability(False, f"{one_line(error)}; pip install onnx")
        return Availability(True, version=onnx.__version__, devices=("cpu",))

    def capabilities(self, target: Target) -> Capabilities:
        """Return that NumPy knows 32 bits alone, and any number of channels."""
        if target.device != "cpu":
            raise RuntimeUnavailable(f"numpy: unknown device {target.device!r}, allowed: cpu; change the target")
        return Capabilities(latency_bits=(32,), storage_bits=(), channel_multiple=4)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write the graph as it is."""
        if request.bits:
            raise MeasurementError(f"{path}: numpy runs 32 bits only; ask for no others")
        path.write_bytes(request.model.SerializeToString())

    def remark(self, operators: dict[str, int], bits: list[int]) -> str:
        """Return nothing: what runs is what was asked for."""
        return ""

    def load(self, path: Path, target: Target) -> LoadedGraph:
        """Load a graph."""
        self.capabilities(target)
        return LoadedGraph(path, _read(path))

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Count the operators of the graph."""
        return dict(Counter(node.op_type for node in _read(path).graph.node))


def _read(path: Path) -> Any:
    import onnx

    try:
        model = onnx.load(str(path))
        onnx.checker.check_model(model)
    except Exception as error:  # protobuf, the checker and the disk raise errors of many kinds
        raise MeasurementError(f"{path}: no usable graph: {one_line(error)}") from error
    return model
