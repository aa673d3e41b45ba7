"""ONNX Runtime: ONNX files on the CPU, and on NVIDIA GPUs where onnxruntime-gpu is installed."""

from __future__ import annotations

import platform
import tempfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable
from ...spaces.target import Capabilities, Target
from ..machine import instruction_sets
from .base import Availability, BuildRequest, Loaded

# Device -> provider asked for. The runtime adds its CPU provider for what a GPU has no kernel for.
_PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}
_INT8_OPERATORS = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat", "DynamicQuantizeMatMul")
_DTYPES = {"float": "float32", "double": "float64"}


def session_options(target: Target) -> Any:
    """The options of every session of ours (`onnxruntime.SessionOptions`): the runtime's defaults, apart from the
    target's thread count, for accuracy and latency alike."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; told once is enough
    return options


class OnnxRuntime:
    """ONNX Runtime (https://onnxruntime.ai). On a GPU, the copies of input and output belong to the latency."""

    name = "onnxruntime"
    suffix = ".onnx"
    synchronous = True

    def available(self) -> Availability:
        """Whether onnxruntime can be imported, its version and devices. Never raises."""
        try:
            import onnxruntime
        except Exception as error:
            return Availability(False, f"{_one_line(error)}; pip install onnxruntime (or onnxruntime-gpu)")
        present = onnxruntime.get_available_providers()
        devices = tuple(device for device, provider in _PROVIDERS.items() if provider in present)
        return Availability(True, version=onnxruntime.__version__, devices=devices)

    def capabilities(self, target: Target) -> Capabilities:
        """Kernels that exist on the target. Raises RuntimeUnavailable for a device other than cpu and cuda.

        CPU: 8 bits are faster where there is a kernel for u8 times s8; 16 and 4 bits are turned back to float for
        convolutions. Float convolutions are blocked by 16 channels (NCHWc). Zeros are not skipped."""
        _provider(target)
        if target.device == "cuda":
            return Capabilities(latency_bits=(32,), storage_bits=(16, 8, 4), channel_multiple=8)
        present = instruction_sets()
        x86 = platform.machine().lower() in ("x86_64", "amd64")
        if x86 and present is not None and "avx2" not in present:
            return Capabilities(latency_bits=(32,), storage_bits=(16, 8, 4), channel_multiple=16)
        return Capabilities(latency_bits=(32, 8), storage_bits=(16, 4), channel_multiple=16)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write an ONNX file, quantized as `onnx_quantize.quantize` says. Raises MeasurementError."""
        from .onnx_quantize import quantize

        try:
            model = quantize(request.model, request.layers, request.bits, request.calibration)
        except Exception as error:
            raise MeasurementError(f"{path}: cannot be quantized: {_one_line(error)}") from error
        path.write_bytes(model.SerializeToString())

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compares the int8 kernels in the graph with the layers that were asked for in 8 bits."""
        asked = sum(b == 8 for b in bits)
        built = sum(operators.get(kind, 0) for kind in _INT8_OPERATORS)
        if built > asked > 0 and operators.get("QLinearMatMul"):
            return ""  # attention multiplies activations with each other: no layers, but quantized with their region
        return "" if built == asked else f"{built} layers run in int8, {asked} were asked for"

    def load(self, path: Path, target: Target) -> Loaded:
        """Load an ONNX file with one input. Raises MeasurementError, RuntimeUnavailable."""
        session = _session(path, target, session_options(target))
        inputs = session.get_inputs()
        if len(inputs) != 1:
            raise MeasurementError(f"{path}: has {len(inputs)} inputs, allowed: 1; export it with one input")
        return _LoadedSession(path, session)

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Operator type -> count in the optimised graph; Conv counts the blocked (NCHWc) ones too.
        Raises MeasurementError, RuntimeUnavailable."""
        import onnx

        with tempfile.TemporaryDirectory(prefix="autocompress-inspect-") as folder:
            optimized = Path(folder) / "optimized.onnx"
            options = session_options(target)
            options.optimized_model_filepath = str(optimized)
            _session(path, target, options)
            graph = onnx.load(optimized, load_external_data=False).graph
        return dict(sorted(Counter(node.op_type for node in graph.node).items()))


class _LoadedSession:
    def __init__(self, path: Path, session: Any) -> None:
        first = session.get_inputs()[0]
        kind = first.type.removeprefix("tensor(").removesuffix(")")
        try:
            self.input_dtype: np.dtype[Any] = np.dtype(_DTYPES.get(kind, kind))
        except TypeError:
            raise MeasurementError(f"{path}: input {first.name!r} is {first.type}, allowed: numbers") from None
        self.input_shape: tuple[int | None, ...] = tuple(d if isinstance(d, int) else None for d in first.shape)
        self._path = path
        self._name = first.name
        self._session = session

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = self._session.run(None, {self._name: array})[0]
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {_one_line(error)}") from error
        return output


def _session(path: Path, target: Target, options: Any) -> Any:
    asked = _provider(target)
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailable(f"onnxruntime: {_one_line(error)}; pip install onnxruntime") from error
    if asked not in onnxruntime.get_available_providers():
        raise RuntimeUnavailable(
            f"onnxruntime {onnxruntime.__version__} has no {asked} for device {target.device!r}; "
            "install onnxruntime-gpu or use device 'cpu'"
        )
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; give an .onnx file")
    providers = [asked] if target.device == "cpu" else [asked, _PROVIDERS["cpu"]]
    try:
        session = onnxruntime.InferenceSession(str(path), options, providers=providers)
    except Exception as error:
        raise MeasurementError(f"{path}: ONNX Runtime cannot load it: {_one_line(error)}") from error
    used = session.get_providers()[0]
    if used != asked:
        raise RuntimeUnavailable(
            f"onnxruntime fell back from {asked} to {used}; check the CUDA and cuDNN libraries or use device 'cpu'"
        )
    return session


def _provider(target: Target) -> str:
    if target.device not in _PROVIDERS:
        raise RuntimeUnavailable(
            f"onnxruntime: unknown device {target.device!r}, allowed: {', '.join(_PROVIDERS)}; change the target"
        )
    return _PROVIDERS[target.device]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
