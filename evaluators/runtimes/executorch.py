"""ExecuTorch: programs (.pte) for the CPU, lowered to XNNPACK. Needs the extra `executorch`."""

from __future__ import annotations

import contextlib
import io
import weakref
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable, one_line
from ...quieting import quietly
from ...spaces.target import Capabilities, Target
from .base import Availability, BuildRequest, Loaded, TensorInfo
from .executorch_program import DELEGATE, OUTSIDE, missing_bytes, operators

_METHOD = "forward"
_INSTALL = "pip install 'autocompress[executorch]'"
# Layers as XNNPACK calls them, and as they are called where it did not take them.
_LAYERS = ("Conv2d", "DepthwiseConv2d", "ConvTranspose2d", "FullyConnected")
_LEFT_BEHIND = ("aten::convolution", "aten::addmm", "aten::mm", "aten::linear")
# Numbers of executorch/runtime/core/portable_type/scalar_type.h.
_DTYPES = {
    0: "uint8",
    1: "int8",
    2: "int16",
    3: "int32",
    4: "int64",
    5: "float16",
    6: "float32",
    7: "float64",
    11: "bool",
}

OLDEST_TORCH = (2, 14)


class ExecuTorch:
    """ExecuTorch (https://docs.pytorch.org/executorch) with XNNPACK. A file takes the batch it was built for."""

    name = "executorch"
    suffix = ".pte"
    synchronous = True

    def available(self) -> Availability:
        """Return whether the native runtime can be loaded, its version and devices. It never raises.

        It is really loaded (PyTorch with it), so that a timing process counts that to no file.
        """
        from importlib.metadata import version

        try:
            native = _native()
            if not native._is_available(DELEGATE):
                return Availability(False, f"this build of executorch has no XNNPACK; {_INSTALL}")
            found = version("torch")
            if tuple(int(part) for part in found.split(".")[:2]) < OLDEST_TORCH:
                # its files build, but its compiled part takes no tensor of an older torch
                oldest = ".".join(map(str, OLDEST_TORCH))
                reason = f"executorch runs beside torch {oldest} or newer, here is {found}; upgrade torch"
                return Availability(False, reason, version("executorch"), ("cpu",), builds_only=True)
            return Availability(True, version=version("executorch"), devices=("cpu",))
        except Exception as error:
            return Availability(False, f"{one_line(error)}; {_INSTALL}")

    def capabilities(self, target: Target) -> Capabilities:
        """Return what XNNPACK's kernels can use.

        It has int8 kernels for every CPU. Half precision is not offered: its weights are stored in 32 bits, and there
        is no form here of it beside int8. Channels are packed into tiles, of 8 at the least; the last one is padded.

        Raises:
            RuntimeUnavailable: The device is not "cpu".
        """
        _check(target)
        return Capabilities(latency_bits=(32, 8), storage_bits=(), channel_multiple=8, one_input=True)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write a program for the request's own batch.

        With a free one, XNNPACK leaves reshapes and slices behind, and the largest batch would have to be known.

        Raises:
            MeasurementError: It has no such bits, or cannot be lowered.
        """
        if other := sorted(set(request.bits.values()) - {32, 8}):
            raise MeasurementError(f"{path}: executorch has no kernels of ours for {other} bits; plan 32 or 8")
        try:
            # the exporter and the quantizer warn of their own internals and of what is to become of them
            with quietly(stdout=False):
                path.write_bytes(_lowered(request))
        except Exception as error:
            raise MeasurementError(f"{path}: cannot be lowered for ExecuTorch: {one_line(error)}") from error

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compare the layers that XNNPACK runs with the bits asked for, and tell of those it left behind."""
        asked = Counter("int8" if b == 8 else "f32" for b in bits)
        built: Counter[str] = Counter()
        for name, count in operators.items():
            kind, _, precision = name.partition(" in ")
            if kind in _LAYERS or (kind in _LEFT_BEHIND and precision == OUTSIDE):
                built[precision] += count
        if built["int8"] == asked["int8"] and built["f32"] >= asked["f32"] and not built[OUTSIDE]:
            return ""
        return f"layers run in {_words(built) or 'no delegate'}, asked for {_words(asked)}"

    def load(self, path: Path, target: Target) -> Loaded:
        """Load a program and prepare its method; see `Runtime.load` for what it raises.

        The thread pool is the process's own: what was loaded for another number of threads cannot be run after it.
        """
        _check(target)
        _check_file(path)
        return _LoadedMethod(path, target)

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return "operator in precision" -> count of what XNNPACK runs, "operator in portable kernels" of the rest.

        See `Runtime.inspect` for what it raises.
        """
        _check(target)
        _check_file(path)
        try:
            return operators(path)
        except Exception as error:
            raise MeasurementError(f"{path}: ExecuTorch cannot load it: {one_line(error)}") from error


class _LoadedMethod:
    # Setting the process's pool frees the one that loaded methods hold on to: running one of them would then crash.
    _living: ClassVar[weakref.WeakSet[_LoadedMethod]] = weakref.WeakSet()

    def __init__(self, path: Path, target: Target) -> None:
        native = _native()
        self._path = path
        self._method: Any = None
        # its C++ tells by way of Python's standard error what it looks for in the CPU, and each error twice
        with contextlib.redirect_stderr(io.StringIO()):
            if native._threadpool_get_thread_count() != target.threads:
                for other in list(self._living):
                    other._method = None
                native._unsafe_reset_threadpool(target.threads)
            try:
                self._program = native._load_program(str(path), False, 0, native.Verification.InternalConsistency)
                self._method = self._program.load_method(_METHOD)
                meta = self._method.method_meta()
            except Exception as error:
                raise MeasurementError(f"{path}: ExecuTorch cannot load it: {one_line(error)}") from error
        if meta.num_inputs() != 1:
            raise MeasurementError(f"{path}: has {meta.num_inputs()} inputs, allowed: 1; export it with one input")
        kind = meta.input_tensor_meta(0)
        if kind.dtype() not in _DTYPES:
            raise MeasurementError(f"{path}: its input has scalar type {kind.dtype()}, allowed: numbers")
        self.inputs = (TensorInfo("input", tuple(kind.sizes()), np.dtype(_DTYPES[kind.dtype()])),)
        self._living.add(self)

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        import torch

        (array,) = arrays
        takes = self.inputs[0]
        if self._method is None:
            raise MeasurementError(
                f"{self._path}: cannot be run: the thread pool was set for another target since; load it again"
            )
        if array.shape != takes.shape or array.dtype != takes.dtype:
            raise MeasurementError(
                f"{self._path}: cannot be run: input is {array.dtype} {list(array.shape)}, "
                f"allowed: {takes.dtype} {list(takes.shape)}; build it for this batch"
            )
        try:
            outputs = self._method.call([torch.from_numpy(np.require(array, requirements=("C", "W")))])
            output: NDArray[Any] = outputs[0].numpy()
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error
        return output


def _lowered(request: BuildRequest) -> bytes:
    import torch
    from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
    from executorch.backends.xnnpack.utils.configs import get_xnnpack_edge_compile_config
    from executorch.exir import to_edge_transform_and_lower

    from ...compression.fuse import fused, norm_pairs
    from .executorch_quantize import quantized, repeated

    example = repeated(torch.from_numpy(request.one_input("executorch")), request.batch)
    with torch.no_grad():
        module = fused(request.module, norm_pairs(request.module, example))
        if 8 in request.bits.values():
            layers = frozenset(request.layers.values())
            module = quantized(module, layers, request.bits, request.one_input("executorch"), request.batch)
        program = torch.export.export(module, (example,))
        edge = to_edge_transform_and_lower(
            program, partitioner=[XnnpackPartitioner()], compile_config=get_xnnpack_edge_compile_config()
        )
        return bytes(edge.to_executorch().buffer)


def _native() -> Any:
    # `portable_lib`, which wraps the native runtime, would import the exporter too: seconds in every process
    try:
        import torch  # noqa: F401 - its libraries must be there first
        from executorch.extension.pybindings import _C
    except ImportError as error:
        raise RuntimeUnavailable(f"executorch: {one_line(error)}; {_INSTALL}") from error
    return _C


def _check(target: Target) -> None:
    if target.device != "cpu":
        raise RuntimeUnavailable(f"executorch: unknown device {target.device!r}, allowed: cpu; change the target")


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; give a .pte file")
    try:
        missing = missing_bytes(path)
    except (ValueError, OSError) as error:
        raise MeasurementError(f"{path}: ExecuTorch cannot load it: {one_line(error)}") from error
    if missing:
        raise MeasurementError(
            f"{path}: ExecuTorch cannot load it: {missing} bytes are missing at its end; copy it again"
        )


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{precision} {count}" for precision, count in sorted(counts.items()) if count)
