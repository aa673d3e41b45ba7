"""ONNX Runtime: ONNX files on the CPU, and on NVIDIA GPUs, by CUDA or TensorRT, where onnxruntime-gpu is installed."""

from __future__ import annotations

import functools
import json
import platform
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable, one_line
from ...spaces.target import Capabilities, Target
from ...temporary import temporary_folder
from ..timing.machine import instruction_sets
from .base import Availability, BuildRequest, Loaded, Ranges, TensorInfo
from .onnx_overflow import top_without_overflow
from .onnx_recurrent import RUN, STORED, store_recurrent
from .onnx_tables import TABLE_BITS, store_tables
from .onnx_ways import WAYS, compute_otherwise
from .profiling import WARM_UP, OperatorTime, run_repeatedly

# Device -> the provider asked for, and those for what it has no kernel for.
_PROVIDERS = {
    "cpu": ("CPUExecutionProvider",),
    "cuda": ("CUDAExecutionProvider", "CPUExecutionProvider"),
    "tensorrt": ("TensorrtExecutionProvider", "CUDAExecutionProvider", "CPUExecutionProvider"),
}
_RECORD_PLACES = "session.record_ep_graph_assignment_info"
_INT8_OPERATORS = (
    "QLinearConv",
    "QGemm",
    "QLinearMatMul",
    "MatMulIntegerToFloat",
    "DynamicQuantizeMatMul",
    "MatMulInteger",
    "DynamicQuantizeLSTM",
)
_DTYPES = {"float": "float32", "double": "float64"}


def session_options(target: Target) -> Any:
    """Return the options of every session of ours (`onnxruntime.SessionOptions`), for accuracy and latency alike.

    They are the runtime's defaults apart from the target's thread count.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = target.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised; told once is enough
    if target.device != "cpu":
        options.add_session_config_entry(_RECORD_PLACES, "1")
    return options


@functools.cache
def weight_top() -> int:
    """Return the largest code of weights in 8 bits that the kernels on this CPU multiply without overflow."""

    def run(file: bytes, row: NDArray[Any]) -> NDArray[Any]:
        import onnxruntime

        options = session_options(Target("onnxruntime"))
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        found: NDArray[Any] = session.run(None, {"row": row})[0]
        return found

    return top_without_overflow(run)


class OnnxRuntime:
    """ONNX Runtime (https://onnxruntime.ai).

    On a GPU, the copies of input and output belong to the latency. An operator that the GPU has no kernel for runs on
    the CPU, but a network that would run there as a whole is refused.
    """

    name = "onnxruntime"
    suffix = ".onnx"
    synchronous = True

    def available(self) -> Availability:
        """Return whether onnxruntime can be imported, its version and devices. It never raises."""
        try:
            import onnxruntime
        except Exception as error:
            return Availability(False, f"{one_line(error)}; pip install onnxruntime (or onnxruntime-gpu)")
        present = onnxruntime.get_available_providers()
        devices = tuple(device for device, providers in _PROVIDERS.items() if providers[0] in present)
        return Availability(True, version=onnxruntime.__version__, devices=devices)

    def capabilities(self, target: Target) -> Capabilities:
        """Return what the kernels on the target can use.

        On a CPU, 8 bits are faster where there is a kernel for u8 times s8; 16 and 4 bits are turned back to float for
        convolutions. Float convolutions are blocked by 16 channels (NCHWc). Zeros are not skipped. Weights in 8 bits
        lie on a smaller grid where the CPU's kernels would overflow, see `onnx_overflow`; on a GPU too, as what it has
        no kernel for runs on the CPU.

        Raises:
            RuntimeUnavailable: The device is unknown.
        """
        _providers(target)
        return replace(_kernels(target), weight_top=weight_top())

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write an ONNX file, quantized as `onnx_quantize`, `onnx_ways`, `onnx_tables` and `onnx_recurrent` say.

        Raises:
            MeasurementError: It cannot be quantized.
        """
        from .onnx_quantize import quantize

        try:
            top, static = weight_top(), request.static_bits
            model = quantize(request.model, request.layers, static, request.calibration, request.ranges, top)
            model = compute_otherwise(model, request.layers, request.bits, request.activations, top)
            model = store_tables(model, request.tables, request.bits)
            model = store_recurrent(model, request.recurrent, request.bits, request.activations, top)
        except Exception as error:
            raise MeasurementError(f"{path}: cannot be quantized: {one_line(error)}") from error
        path.write_bytes(model.SerializeToString())

    def activation_ranges(self, request: BuildRequest, methods: Sequence[str]) -> Mapping[str, Ranges]:
        """Return ranges of activations; see `CalibratingRuntime.activation_ranges`."""
        from .onnx_calibrate import activation_ranges

        return activation_ranges(request, methods)

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compare the int8 kernels in the graph with the layers that were asked for in 8 bits."""
        asked = sum(b == 8 for b in bits)
        built = sum(operators.get(kind, 0) for kind in _INT8_OPERATORS)
        # with float activations 8 bits run in the operator that runs 4 bits; the latter may be unpacked before, too
        either = operators.get("MatMulNBits", 0)
        built += min(either, max(0, asked - built))
        if built > asked > 0 and operators.get("QLinearMatMul"):
            return ""  # attention multiplies activations with each other: no layers, but quantized with their region
        return "" if built == asked else f"{built} layers run in int8, {asked} were asked for"

    def load(self, path: Path, target: Target) -> Loaded:
        """Load an ONNX file; see `Runtime.load` for what it raises."""
        return _LoadedSession(path, _session(path, target, session_options(target)))

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return operator type -> count in the optimised graph; Conv counts the blocked (NCHWc) ones too.

        On a GPU it is the graph as it was shared out, with what was left to others as "Conv on CPUExecutionProvider".
        See `Runtime.inspect` for what it raises.
        """
        if target.device != "cpu":  # an optimised graph with compiled parts cannot be written
            return _placed(_session(path, target, session_options(target)), _providers(target)[0])
        import onnx

        with temporary_folder() as folder:
            optimized = folder / "optimized.onnx"
            options = session_options(target)
            options.optimized_model_filepath = str(optimized)
            _session(path, target, options)
            graph = onnx.load(optimized, load_external_data=False).graph
        return dict(sorted(Counter(node.op_type for node in graph.node).items()))

    def profile(
        self, path: Path, target: Target, arrays: tuple[NDArray[Any], ...], layers: Mapping[str, str]
    ) -> tuple[OperatorTime, ...]:
        """Return what each operator took, none on a GPU; see `ProfilingRuntime.profile`.

        On a GPU its profiler sees when kernels are started, not what they take.
        """
        if target.device != "cpu":
            return ()
        import onnx

        from .onnx_profile import operators_of

        with temporary_folder() as folder:
            rewritten = folder / "rewritten.onnx"
            options = session_options(target)
            options.optimized_model_filepath = str(rewritten)
            options.enable_profiling = True
            options.profile_file_prefix = str(folder / "profile")
            session = _session(path, target, options)
            loaded = _LoadedSession(path, session)
            given = [array.astype(takes.dtype) for array, takes in zip(arrays, loaded.inputs, strict=True)]
            run_repeatedly(lambda: loaded.run(*given), WARM_UP)
            run_repeatedly(lambda: loaded.run(*given))
            events = json.loads(Path(session.end_profiling()).read_bytes())
            file, ran = onnx.load(path, load_external_data=False), onnx.load(rewritten, load_external_data=False)
            return operators_of(events, WARM_UP, file, ran, layers)


def _kernels(target: Target) -> Capabilities:
    if target.device != "cpu":
        return Capabilities(latency_bits=(32,), storage_bits=(16, 8, 4), channel_multiple=8)
    present = instruction_sets()
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    if x86 and present is not None and "avx2" not in present:
        return Capabilities((32,), (16, 8, 4), channel_multiple=16, table_bits=TABLE_BITS, recurrent=STORED)
    return Capabilities((32, 8), (16, 4), channel_multiple=16, table_bits=TABLE_BITS, ways=WAYS, recurrent=RUN)


class _LoadedSession:
    def __init__(self, path: Path, session: Any) -> None:
        self.inputs = tuple(_told(path, given) for given in session.get_inputs())
        if not self.inputs:
            raise MeasurementError(f"{path}: takes no input; export the network with its inputs")
        self._path = path
        self._names = [given.name for given in self.inputs]
        self._session = session

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        try:
            output: NDArray[Any] = self._session.run(None, dict(zip(self._names, arrays, strict=True)))[0]
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error
        return output


def _told(path: Path, given: Any) -> TensorInfo:
    kind = given.type.removeprefix("tensor(").removesuffix(")")
    try:
        dtype = np.dtype(_DTYPES.get(kind, kind))
    except TypeError:
        raise MeasurementError(f"{path}: input {given.name!r} is {given.type}, allowed: numbers") from None
    return TensorInfo(given.name, tuple(d if isinstance(d, int) else None for d in given.shape), dtype)


def _session(path: Path, target: Target, options: Any) -> Any:
    asked, *others = _providers(target)
    try:
        import onnxruntime
    except ImportError as error:
        raise RuntimeUnavailable(f"onnxruntime: {one_line(error)}; pip install onnxruntime") from error
    if asked not in onnxruntime.get_available_providers():
        raise RuntimeUnavailable(
            f"onnxruntime {onnxruntime.__version__} has no {asked} for device {target.device!r}; "
            "install onnxruntime-gpu or use device 'cpu'"
        )
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; give an .onnx file")
    try:
        # Without its fall back it would still leave a provider out in silence: hence the checks below.
        session = onnxruntime.InferenceSession(str(path), options, providers=[asked, *others], enable_fallback=0)
    except Exception as error:
        raise MeasurementError(f"{path}: ONNX Runtime cannot load it: {one_line(error)}") from error
    _refuse_other_places(path, target, session, asked)
    return session


def _refuse_other_places(path: Path, target: Target, session: Any, asked: str) -> None:
    # a provider that does nothing in this session would be timed under another's name
    used = session.get_providers()[0]
    if used != asked:
        raise RuntimeUnavailable(
            f"onnxruntime fell back from {asked} to {used}; check the CUDA, cuDNN and TensorRT libraries or use "
            "device 'cpu'"
        )
    if target.device != "cpu":
        places = _placed(session, asked)
        if all(" on " in kind for kind in places):
            raise RuntimeUnavailable(
                f"{path}: onnxruntime places no operator of it on {asked}, but {', '.join(places)}; use device 'cpu'"
            )


def _placed(session: Any, asked: str) -> dict[str, int]:
    # operator type -> count, of a session that recorded where each runs; elsewhere than `asked`, with the place
    kinds: Counter[str] = Counter()
    for part in session.get_provider_graph_assignment_info():
        place = "" if part.ep_name == asked else f" on {part.ep_name}"
        kinds.update(node.op_type + place for node in part.get_nodes())
    return dict(sorted(kinds.items()))


def _providers(target: Target) -> tuple[str, ...]:
    if target.device not in _PROVIDERS:
        raise RuntimeUnavailable(
            f"onnxruntime: unknown device {target.device!r}, allowed: {', '.join(_PROVIDERS)}; change the target"
        )
    return _PROVIDERS[target.device]
