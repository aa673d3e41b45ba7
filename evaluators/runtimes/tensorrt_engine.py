"""An engine of TensorRT on the GPU: its buffers, its stream, and the copies in and out. Imports no torch."""

from __future__ import annotations

import ctypes
import importlib
import math
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, one_line
from .base import TensorInfo

_CUDA = "cuda.bindings.runtime"  # comes with torch; torch itself would cost each timing process seconds


class LoadedEngine:
    """An engine with its context and its buffers, ready to run.

    Attributes:
        inputs: Its only input.
        engine: The engine.
        context: What it runs in.
    """

    def __init__(self, path: Path, trt: Any, engine: Any, context: Any, batch: int, alive: Any) -> None:
        """Look at the engine's input, and make a stream.

        Args:
            path: The engine's file, for errors.
            trt: TensorRT's module.
            engine: The engine.
            context: What it runs in.
            batch: The target's.
            alive: What must outlive the engine: its logger and its runtime.

        Raises:
            MeasurementError: It has several inputs, or takes no such batch.
        """
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [name for name in names if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise MeasurementError(f"{path}: has {len(inputs)} inputs, allowed: 1; export it with one input")
        self._sides = (inputs[0], next(name for name in names if name not in inputs))
        self._dtypes = [np.dtype(trt.nptype(engine.get_tensor_dtype(name))) for name in self._sides]
        shape = tuple(n if n >= 0 else None for n in engine.get_tensor_shape(inputs[0]))
        self.inputs = (TensorInfo(inputs[0], shape, self._dtypes[0]),)
        most = engine.get_tensor_profile_shape(inputs[0], 0)[2][0] if shape[0] is None else batch
        if batch > most:
            raise MeasurementError(f"{path}: takes 1 to {most} images, the target's batch is {batch}; make it smaller")
        self.engine, self.context = engine, context
        self._alive = alive  # an engine needs its runtime, and that its logger
        self._path, self._cuda = path, _Cuda(path)
        self._stream = self._cuda("cudaStreamCreate")
        _when_gone(self, self._cuda, "cudaStreamDestroy", self._stream)
        self._fitted: tuple[int | None, ...] = ()
        self._buffers: list[_Buffer] = []

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        """Return the output for an input; see `Loaded.run`."""
        (array,) = arrays
        if array.shape != self._fitted:
            self.fit(array.shape)
        into, out = self._buffers
        stream = self._stream
        into.host[...] = array
        self._cuda("cudaMemcpyAsync", into.device, into.address, into.size, self._cuda.to_device, stream)
        if not self.context.execute_async_v3(int(stream)):
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(' '.join(self._alive[0].errors))}")
        self._cuda("cudaMemcpyAsync", out.address, out.device, out.size, self._cuda.to_host, stream)
        self._cuda("cudaStreamSynchronize", stream)
        return out.host.copy()

    def fit(self, shape: tuple[int | None, ...]) -> None:
        """Make ready for inputs of this shape.

        Raises:
            MeasurementError: The engine does not take it.
        """
        if not self.context.set_input_shape(self._sides[0], shape):
            raise MeasurementError(
                f"{self._path}: input is {list(shape)}, the engine takes {list(self.inputs[0].shape)}"
            )
        self._buffers, self._fitted = [], ()
        for name, dtype in zip(self._sides, self._dtypes, strict=True):
            buffer = _Buffer(self._cuda, tuple(self.context.get_tensor_shape(name)), dtype)
            self.context.set_tensor_address(name, int(buffer.device))
            self._buffers.append(buffer)
        self._fitted = shape


class _Cuda:
    """Calls functions of the CUDA runtime by name; their errors become MeasurementErrors about a file."""

    def __init__(self, path: Path) -> None:
        runtime = importlib.import_module(_CUDA)
        self._path, self._runtime = path, runtime
        self.to_device = runtime.cudaMemcpyKind.cudaMemcpyHostToDevice
        self.to_host = runtime.cudaMemcpyKind.cudaMemcpyDeviceToHost

    def __call__(self, name: str, *arguments: Any) -> Any:
        error, *values = getattr(self._runtime, name)(*arguments)
        if int(error):
            raise MeasurementError(f"{self._path}: {name} says {error.name}; give it a GPU with free memory")
        return values[0] if values else None


class _Buffer:
    """A tensor twice: on the GPU, and in memory of the host that the GPU copies from and to without a detour.

    Attributes:
        size: Bytes of each.
        device: Address on the GPU.
        address: Address on the host.
        host: The tensor on the host.
    """

    def __init__(self, cuda: _Cuda, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.size = max(1, math.prod(shape) * dtype.itemsize)
        self.device, self.address = cuda("cudaMalloc", self.size), cuda("cudaMallocHost", self.size)
        whole = np.ctypeslib.as_array((ctypes.c_uint8 * self.size).from_address(int(self.address)))
        self.host: NDArray[Any] = whole[: math.prod(shape) * dtype.itemsize].view(dtype).reshape(shape)
        _when_gone(self, cuda, "cudaFree", self.device)
        _when_gone(self, cuda, "cudaFreeHost", self.address)


def _when_gone(owner: object, cuda: _Cuda, name: str, argument: Any) -> None:
    # a process that ends gives everything back by itself, and its CUDA may be gone by then
    weakref.finalize(owner, cuda, name, argument).atexit = False


def gpu() -> tuple[tuple[int, int] | None, str]:
    """Return the compute capability of the first GPU, or None and in words what is missing."""
    try:
        cuda = importlib.import_module(_CUDA)
    except Exception as error:
        return None, f"{one_line(error)} (pip install cuda-bindings)"
    failed, count = cuda.cudaGetDeviceCount()
    if int(failed) or not count:
        why = cuda.cudaGetErrorString(failed)[1].decode() if int(failed) else "none is visible"
        return None, f"no NVIDIA GPU or driver here ({why})"
    which = cuda.cudaDeviceAttr
    parts = (which.cudaDevAttrComputeCapabilityMajor, which.cudaDevAttrComputeCapabilityMinor)
    major, minor = (cuda.cudaDeviceGetAttribute(part, 0)[1] for part in parts)
    return (major, minor), ""
