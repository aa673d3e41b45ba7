"""OpenVINO: ONNX files on the CPU. Needs the extra `openvino`."""

from __future__ import annotations

import copy
import functools
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable, one_line
from ...spaces.target import Capabilities, Target
from ..timing.machine import instruction_sets
from .base import Availability, BuildRequest, Loaded, Ranges, TensorInfo
from .onnx_overflow import top_without_overflow
from .onnx_recurrent import STORED, store_recurrent
from .onnx_tables import TABLE_BITS, store_tables
from .profiling import OperatorTime

PRECISION_KEY = "autocompress.float_precision"
"""Key in a file's metadata of what its float layers run in, "f32" or "bf16". OpenVINO would choose by itself."""
INT8 = ("i8", "u8")
PASSES = 3
"""Times that a file is loaded to be profiled: counters are means, so one pass that other work disturbs is left out."""


@functools.cache
def weight_top() -> int:
    """Return the largest code of weights in 8 bits that the kernels on this CPU multiply without overflow."""

    def run(file: bytes, row: NDArray[Any]) -> NDArray[Any]:
        import openvino

        core = openvino.Core()
        compiled = core.compile_model(core.read_model(file), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found: NDArray[Any] = compiled(row)[0].copy()
        return found

    return top_without_overflow(run)


class OpenVino:
    """OpenVINO (https://docs.openvino.ai). Layers of 16 bits run in bfloat16: all float layers do, or none."""

    name = "openvino"
    suffix = ".onnx"
    synchronous = True

    def available(self) -> Availability:
        """Return whether openvino can be imported, its version and devices. It never raises."""
        try:
            import openvino
        except Exception as error:
            return Availability(False, f"{one_line(error)}; pip install 'autocompress[openvino]'")
        return Availability(True, version=openvino.__version__.partition("-")[0], devices=("cpu",))

    def capabilities(self, target: Target) -> Capabilities:
        """Return what the kernels on the CPU can use.

        bfloat16 pays where the CPU has instructions for it, int8 everywhere. Zeros are not skipped; channels are padded
        to the vector width, in steps without cliffs. Weights in 8 bits lie on a smaller grid where the kernels would
        overflow, see `onnx_overflow`.

        Raises:
            RuntimeUnavailable: The device is not "cpu".
        """
        if target.device != "cpu":
            raise RuntimeUnavailable(f"openvino: unknown device {target.device!r}, allowed: cpu; change the target")
        fast_bf16 = bool({"amx_bf16", "avx512_bf16"} & set(instruction_sets() or ()))
        bits = (32, 16, 8) if fast_bf16 else (32, 8)
        can = Capabilities(bits, (), channel_multiple=8, one_float=True, table_bits=TABLE_BITS, recurrent=STORED)
        return replace(can, weight_top=weight_top())

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write an ONNX file in OpenVINO's favourite form.

        That is QDQ with uint8 activations, int8 weights per channel, and the target's batch, since a free one costs a
        small network a tenth of its speed. The precision of its float layers is written into its metadata.

        Raises:
            MeasurementError: It cannot be quantized.
        """
        from .onnx_quantize import quantize

        eight = {layer: bits for layer, bits in request.static_bits.items() if bits == 8}
        try:
            model = quantize(request.model, request.layers, eight, request.calibration, request.ranges, weight_top())
            model = store_tables(model, request.tables, request.bits)
            model = store_recurrent(model, request.recurrent, request.bits)
        except Exception as error:
            raise MeasurementError(f"{path}: cannot be quantized: {one_line(error)}") from error
        model = copy.deepcopy(model)  # without quantization it is the request's own
        for value in (*model.graph.input, *model.graph.output):
            first = value.type.tensor_type.shape.dim[0]
            if first.WhichOneof("value") != "dim_value":
                first.dim_value = request.target_batch
        entry = model.metadata_props.add()
        entry.key, entry.value = PRECISION_KEY, "bf16" if 16 in request.static_bits.values() else "f32"
        path.write_bytes(model.SerializeToString())

    def activation_ranges(self, request: BuildRequest, methods: Sequence[str]) -> Mapping[str, Ranges]:
        """Return ranges of activations; see `CalibratingRuntime.activation_ranges`."""
        from .onnx_calibrate import activation_ranges

        return activation_ranges(request, methods)

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compare the precisions in the compiled graph with those asked for."""
        asked = Counter("int8" if b == 8 else "bf16" if 16 in bits else "f32" for b in bits)
        built: Counter[str] = Counter()
        for name, count in operators.items():
            kind, _, precision = name.partition(" in ")
            if kind in ("Convolution", "FullyConnected"):
                built["int8" if precision.lower() in INT8 else precision.lower()] += count
        if all(built[precision] == count for precision, count in asked.items()):
            return ""
        return f"layers run in {_words(built)}, asked for {_words(asked)}"

    def load(self, path: Path, target: Target) -> Loaded:
        """Compile a file for one inference at a time; see `Runtime.load` for what it raises."""
        return _LoadedModel(path, _compiled(path, target))

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return "operator in precision" -> count, of the compiled graph; see `Runtime.inspect` for what it raises."""
        graph = _compiled(path, target).get_runtime_model()
        kinds: Counter[str] = Counter()
        for operator in graph.get_ops():
            info = operator.get_rt_info()
            kind, precision = info["layerType"], info["runtimePrecision"]
            text = (str(getattr(x, "value", x)).strip('"') for x in (kind, precision))
            kinds[" in ".join(text)] += 1
        return dict(sorted(kinds.items()))

    def profile(
        self, path: Path, target: Target, arrays: tuple[NDArray[Any], ...], layers: Mapping[str, str]
    ) -> tuple[OperatorTime, ...]:
        """Return what each operator took; see `ProfilingRuntime.profile`.

        An operator that OpenVINO joined of several layers has all their names.
        """
        import onnx

        from .openvino_profile import named_operators, spent_us

        least_us: dict[str, float] = {}
        for _ in range(PASSES):
            compiled = _compiled(path, target, profiled=True)
            loaded = _LoadedModel(path, compiled)
            given = [np.ascontiguousarray(a, dtype=takes.dtype) for a, takes in zip(arrays, loaded.inputs, strict=True)]
            spent = spent_us(functools.partial(loaded.run, *given), loaded.counters)
            least_us = {name: min(us, least_us.get(name, us)) for name, us in spent.items()}
        file = onnx.load(path, load_external_data=False)
        return named_operators(least_us, compiled.get_runtime_model(), file, layers)


class _LoadedModel:
    def __init__(self, path: Path, compiled: Any) -> None:
        self.inputs = tuple(_told(given) for given in compiled.inputs)
        self._path = path
        self._request = compiled.create_infer_request()
        self._bound: list[NDArray[Any] | None] = [None] * len(self.inputs)

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        import openvino

        try:
            for i, array in enumerate(arrays):
                if array is self._bound[i]:  # binding costs as much as a small network
                    continue
                shared = array.flags.c_contiguous
                self._request.set_input_tensor(i, openvino.Tensor(np.ascontiguousarray(array), shared_memory=shared))
                self._bound[i] = array if shared else None
            self._request.infer()
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error
        output: NDArray[Any] = self._request.get_output_tensor(0).data
        return output.copy()

    def counters(self) -> Any:
        """Return what took how long so far, of a file that was compiled to be profiled."""
        return self._request.profiling_info


def _told(given: Any) -> TensorInfo:
    shape = tuple(d.get_length() if d.is_static else None for d in given.get_partial_shape())
    return TensorInfo(given.get_any_name(), shape, np.dtype(given.get_element_type().to_dtype()))


def _compiled(path: Path, target: Target, profiled: bool = False) -> Any:
    try:
        import openvino
    except ImportError as error:
        raise RuntimeUnavailable(f"openvino: {one_line(error)}; pip install 'autocompress[openvino]'") from error
    if target.device != "cpu":
        raise RuntimeUnavailable(f"openvino: unknown device {target.device!r}, allowed: cpu; change the target")
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; give an .onnx file")
    try:
        core = openvino.Core()
        model = core.read_model(str(path))
        settings = {
            "PERFORMANCE_HINT": "LATENCY",
            "NUM_STREAMS": "1",
            "INFERENCE_NUM_THREADS": target.threads,
            "INFERENCE_PRECISION_HINT": _float_precision(model),
            "PERF_COUNT": profiled,
        }
        return core.compile_model(model, "CPU", settings)
    except Exception as error:
        raise MeasurementError(f"{path}: OpenVINO cannot load it: {one_line(error)}") from error


def _float_precision(model: Any) -> str:
    # what the file's metadata says of its float layers; f32 for a file that does not come from here
    info = model.get_rt_info()
    known = info["framework"] if "framework" in info else {}  # noqa: SIM401 - not a dict, it has no get()
    return str(known[PRECISION_KEY].value) if PRECISION_KEY in known else "f32"


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{precision} {count}" for precision, count in sorted(counts.items()) if count)
