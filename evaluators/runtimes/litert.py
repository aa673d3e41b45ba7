"""LiteRT, formerly TensorFlow Lite: .tflite files on the CPU. Needs the extra `litert`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable, one_line
from ...spaces.target import Capabilities, Target
from ..timing.machine import instruction_sets
from .base import Availability, BuildRequest, Loaded, TensorInfo
from .litert_convert import WEIGHTED, silently

_PACKAGES = {
    "ai_edge_litert": "ai-edge-litert",
    "litert_torch": "litert-torch",
    "ai_edge_quantizer": "ai-edge-quantizer",
}
_PARTITION = "XNNPACK partition"
_OUTSIDE = " outside XNNPACK"
_HALF = "float32 from float16"
_INSTALL = "pip install 'autocompress[litert]'"


class LiteRt:
    """LiteRT (https://ai.google.dev/edge/litert) with XNNPACK, its delegate for CPUs, as its interpreter has it."""

    name = "litert"
    suffix = ".tflite"
    synchronous = True

    def __init__(self) -> None:
        """Convert nothing yet."""
        # a student's file is built in float first, then with its bits: one conversion, of seconds, serves both
        self._converted: tuple[bytes, bytes] | None = None

    def available(self) -> Availability:
        """Return whether interpreter, converter and quantizer are installed; they are not imported. It never raises."""
        from importlib.metadata import version
        from importlib.util import find_spec

        try:
            missing = [package for module, package in _PACKAGES.items() if find_spec(module) is None]
            if missing:
                return Availability(False, f"{', '.join(missing)} not installed; {_INSTALL}")
            return Availability(True, version=version("ai-edge-litert"), devices=("cpu",))
        except Exception as error:
            return Availability(False, f"{one_line(error)}; {_INSTALL}")

    def capabilities(self, target: Target) -> Capabilities:
        """Return what XNNPACK's kernels can use.

        int8 has kernels of its own. 16 bits are stored as float16 and computed as float32. 4 bits are not offered:
        XNNPACK leaves such convolutions to slow kernels, and depthwise ones have no form in them. Zeros are not
        skipped. Float kernels make 16 or 32 channels at a time with AVX-512, 8 elsewhere, and pad the last ones.

        Raises:
            RuntimeUnavailable: The device is not "cpu".
        """
        _check(target)
        wide = "avx512f" in (instruction_sets() or ())
        multiple = 16 if wide else 8
        return Capabilities(latency_bits=(32, 8), storage_bits=(16,), channel_multiple=multiple, one_input=True)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write a file with float32 input and output, channels first as the network has them.

        The batch dimension is free where the network allows it (LiteRT's `resize_tensor_input`); bits are as
        `litert_quantize.quantize` says.

        Raises:
            MeasurementError: It has no such bits, or cannot be converted.
        """
        from .litert_convert import convert, fingerprint
        from .litert_quantize import quantize

        if request.module is None:
            raise MeasurementError(f"{path}: litert is built from the network itself, and the request has none")
        if other := sorted(set(request.bits.values()) - {8, 16}):
            raise MeasurementError(f"{path}: litert has no form in {other[0]} bits; plan 32, 16 or 8")
        layers = tuple(request.layers.values())
        asked = fingerprint(request.module, layers, request.batch)
        try:
            if self._converted is None or self._converted[0] != asked:
                content = convert(request.module, layers, request.one_input(self.name), request.batch)
                self._converted = (asked, content)
            content = self._converted[1]
            if request.bits:
                content = quantize(content, layers, request.bits, request.one_input(self.name))
        except Exception as error:
            raise MeasurementError(f"{path}: cannot be converted for LiteRT: {one_line(error)}") from error
        path.write_bytes(content)

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compare the layers that run in int8, and those stored as float16, with those asked for."""
        built: Counter[str] = Counter()
        found = {name.removesuffix(_OUTSIDE) for name in operators}
        for name, count in operators.items():
            kind, _, precision = name.removesuffix(_OUTSIDE).partition(" in ")
            built[precision] += count if kind in WEIGHTED and kind != "BATCH_MATMUL" else 0
        told = []
        for width, precision in ((8, "int8"), (16, _HALF)):
            asked = sum(b == width for b in bits)
            if width == 8 and built[precision] > asked > 0 and "BATCH_MATMUL in int8" in found:
                continue  # attention's own projections are no layers of ours, but quantized with their region
            if built[precision] != asked:
                told.append(f"{built[precision]} layers run in {precision}, {asked} were asked for")
        return "; ".join(told)

    def load(self, path: Path, target: Target) -> Loaded:
        """Load a file with one input; see `Runtime.load` for what it raises."""
        return _LoadedInterpreter(path, _interpreter(path, target))

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return "operator in precision" -> count, and the number of parts that XNNPACK took the graph in.

        Operators that it left to LiteRT's own kernels have " outside XNNPACK" added. See `Runtime.inspect` for what it
        raises.
        """
        counts: Counter[str] = Counter()
        operators = _interpreter(path, target)._get_ops_details()  # no public way to them
        makers = {int(t): op for op in operators if op["op_name"] != "DELEGATE" for t in op["outputs"]}
        taken = _taken(operators, makers)
        for operator in operators:
            if operator["op_name"] == "DELEGATE":
                counts[_PARTITION] += 1
            else:
                where = "" if operator["index"] in taken else _OUTSIDE
                counts[f"{operator['op_name']} in {_precision(operator, makers)}{where}"] += 1
        return dict(sorted(counts.items()))


class _LoadedInterpreter:
    def __init__(self, path: Path, interpreter: Any) -> None:
        first = interpreter.get_input_details()[0]
        shape = tuple(int(d) if d >= 0 else None for d in first["shape_signature"])
        self.inputs = (TensorInfo(first["name"], shape, np.dtype(first["dtype"])),)
        self._path = path
        self._input = first["index"]
        self._output = interpreter.get_output_details()[0]["index"]
        self._shape = tuple(first["shape"])
        self._interpreter = interpreter

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        (array,) = arrays
        try:
            if self.inputs[0].shape[0] is None and array.shape != self._shape:
                self._interpreter.resize_tensor_input(self._input, array.shape, strict=True)
                self._interpreter.allocate_tensors()
                self._shape = array.shape
            self._interpreter.set_tensor(self._input, array)
            self._interpreter.invoke()
            output: NDArray[Any] = self._interpreter.get_tensor(self._output)  # a copy
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error
        return output


def _interpreter(path: Path, target: Target) -> Any:
    # with XNNPACK applied, for the target's batch where the file leaves it free
    _check(target)
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError as error:
        raise RuntimeUnavailable(f"litert: {one_line(error)}; {_INSTALL}") from error
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; give a .tflite file")
    try:
        with silently():
            interpreter = Interpreter(str(path), num_threads=target.threads)
            inputs = interpreter.get_input_details()
            if len(inputs) == 1 and inputs[0]["shape_signature"][0] < 0:
                shape = [target.batch, *inputs[0]["shape"][1:]]
                interpreter.resize_tensor_input(inputs[0]["index"], shape, strict=True)
            interpreter.allocate_tensors()
    except Exception as error:
        raise MeasurementError(f"{path}: LiteRT cannot load it: {one_line(error)}") from error
    if len(inputs) != 1:
        raise MeasurementError(f"{path}: has {len(inputs)} inputs, allowed: 1; convert it with one input")
    return interpreter


def _taken(operators: Sequence[Mapping[str, Any]], makers: Mapping[int, Mapping[str, Any]]) -> set[int]:
    # indices of the operators that XNNPACK runs: those between the inputs and the outputs of its parts
    found: set[int] = set()
    for part in operators:
        if part["op_name"] != "DELEGATE":
            continue
        given = set(map(int, part["inputs"]))
        waiting = [int(tensor) for tensor in part["outputs"]]
        while waiting:
            tensor = waiting.pop()
            if tensor in given or tensor not in makers or makers[tensor]["index"] in found:
                continue
            found.add(makers[tensor]["index"])
            waiting.extend(int(t) for t in makers[tensor]["inputs"])
    return found


def _precision(operator: Mapping[str, Any], makers: Mapping[int, Mapping[str, Any]]) -> str:
    # what an operator computes in; for one with weights that are stored in another type, that too
    kinds = [str(np.dtype(kind).name) for kind in operator["operand_types"]] or ["nothing"]
    if operator["op_name"] not in WEIGHTED:
        return kinds[0]
    maker = makers.get(int(operator["inputs"][1]))
    stored = str(np.dtype(maker["operand_types"][0]).name) if maker and maker["op_name"] == "DEQUANTIZE" else kinds[1]
    return kinds[0] if stored == kinds[0] else f"{kinds[0]} from {stored}"


def _check(target: Target) -> None:
    if target.device != "cpu":
        raise RuntimeUnavailable(f"litert: unknown device {target.device!r}, allowed: cpu; change the target")
