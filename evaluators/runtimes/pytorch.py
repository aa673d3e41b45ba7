"""PyTorch itself, the honest baseline: the student as an exported program (.pt2), eager or compiled."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable, one_line
from ...quieting import quietly
from ...spaces.graph.input_names import as_given
from ...spaces.target import Capabilities, Target
from ..timing.machine import instruction_sets
from .base import Availability, BuildRequest, Loaded, TensorInfo
from .pt2_archive import plain_archive


class PyTorch:
    """PyTorch, operator by operator.

    Layers of 16 bits run in bfloat16: the whole network does but for what it casts to float32 itself, or none of it
    does. On a GPU, the copies of input and output belong to the latency.

    Attributes:
        compiles: Whether a program is compiled when it is loaded.
    """

    name = "pytorch"
    suffix = ".pt2"
    synchronous = True
    compiles = False

    def available(self) -> Availability:
        """Return whether torch can be imported, its version and devices. It never raises."""
        try:
            import torch

            devices = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
        except Exception as error:
            return Availability(False, f"{one_line(error)}; pip install torch")
        return Availability(True, version=str(torch.__version__), devices=devices)

    def capabilities(self, target: Target) -> Capabilities:
        """Return what PyTorch can use: bfloat16 where the CPU has instructions for it, or on a GPU; no int8.

        Raises:
            RuntimeUnavailable: The device is unknown, or not here.
        """
        _check(self.name, target)
        fast_bf16 = target.device == "cuda" or bool({"amx_bf16", "avx512_bf16"} & set(instruction_sets() or ()))
        bits = (32, 16) if fast_bf16 else (32,)
        return Capabilities(latency_bits=bits, storage_bits=(), channel_multiple=8, one_float=True)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write an exported program with a free batch dimension where the network allows it.

        Raises:
            MeasurementError: Fewer than 16 bits are asked for, or the network cannot be run in 16.
        """
        import torch

        if any(b < 16 for b in request.bits.values()):
            raise MeasurementError(f"{path}: {self.name} has no kernels below 16 bits; plan 32 or 16")
        module = request.module
        given = request.calibration if isinstance(request.calibration, tuple) else (request.calibration,)
        parts = tuple(torch.from_numpy(part) for part in given)
        if 16 in request.bits.values():
            from .pytorch_half import Half

            module = Half(module, tuple(part[: request.batch] for part in parts))
        with quietly(stdout=False):
            try:
                batch = tuple({0: torch.export.Dim("batch", min=1)} for _ in parts)
                example = tuple(part[:2] for part in parts)
                # a network of any number of inputs takes them under one name
                shapes: Any = batch if module is request.module else (batch,)
                program = torch.export.export(module.eval(), example, dynamic_shapes=shapes)
            except Exception:  # a network that fixes its batch: a class token, a reshape with numbers
                program = torch.export.export(module.eval(), tuple(part[: request.batch] for part in parts))
            program.example_inputs = None
            torch.export.save(program, path)
        _leave_out_pickles(path)

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Return nothing: PyTorch runs what the program says."""
        return ""

    def load(self, path: Path, target: Target) -> Loaded:
        """Load a program; compiled ones are compiled at their first run. See `Runtime.load` for what it raises."""
        return _LoadedProgram(path, _program(self.name, path, target), target, self.compiles)

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return ATen operator -> count in the program; see `Runtime.inspect` for what it raises."""
        nodes = _program(self.name, path, target).graph.nodes
        counts = Counter(str(node.target) for node in nodes if node.op == "call_function")
        return dict(sorted(counts.items()))


class TorchCompile(PyTorch):
    """PyTorch's compiler (torch.compile) with inductor. It needs a C++ compiler, and a minute for the first run."""

    name = "torch_compile"
    compiles = True

    def available(self) -> Availability:
        """Return whether there is a C++ compiler beside PyTorch. It never raises."""
        import shutil

        found = super().available()
        if found.ok and not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
            return Availability(False, "torch.compile needs a C++ compiler: install g++ or clang", found.version)
        return found


def _leave_out_pickles(path: Path) -> None:
    """Empty the example inputs of an archive, its only pickled part. Weights are plain bytes, and the rest is JSON.

    PyTorch takes an empty part for none. Whoever loads a file of ours runs no code that somebody put into it.
    """
    whole = path.with_name(f"{path.name}.plain")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(whole, "w", zipfile.ZIP_STORED) as new:
        for part in old.infolist():
            new.writestr(part.filename, b"" if "/sample_inputs/" in part.filename else old.read(part))
    whole.replace(path)


class _LoadedProgram:
    def __init__(self, path: Path, program: Any, target: Target, compiles: bool) -> None:
        import torch

        torch.set_num_threads(target.threads)
        values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
        self.inputs = tuple(_told(as_given(name), values[name]) for name in program.graph_signature.user_inputs)
        self._path = path
        if target.device != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, target.device)
        module = _without_assertions(program.module())
        self._module: Any = torch.compile(module) if compiles else module
        self._buffers = None if target.device == "cpu" else [_Buffers(target.device) for _ in self.inputs]

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        import torch

        try:
            with torch.inference_mode():
                parts = [torch.from_numpy(array) for array in arrays]
                if self._buffers is not None:
                    parts = [buffer.moved(part) for buffer, part in zip(self._buffers, parts, strict=True)]
                # On a GPU, the copy back waits for all that went before it.
                output: NDArray[Any] = self._module(*parts).cpu().numpy()
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error
        return output


def _without_assertions(module: Any) -> Any:
    """Remove what export asserts of its own tensors (type, device), which costs time at each call.

    The assertion names the device "cuda", tensors name "cuda:0", and torch.compile takes that for a difference.
    """
    import torch

    if isinstance(module, torch.fx.GraphModule):
        for node in list(module.graph.nodes):
            if node.target is torch.ops.aten._assert_tensor_metadata.default:
                module.graph.erase_node(node)
        module.recompile()
    return module


def _told(name: str, value: Any) -> TensorInfo:
    dtype = np.dtype(str(value.dtype).removeprefix("torch."))
    return TensorInfo(name, tuple(d if isinstance(d, int) else None for d in value.shape), dtype)


class _Buffers:
    """Inputs on a GPU, by way of pinned memory, each time in the next of a few buffers.

    One that was read the moment before would still lie in the GPU's cache, which no stream of new images finds there.
    """

    COUNT = 4

    def __init__(self, device: str) -> None:
        self._device = device
        self._pairs: list[tuple[Any, Any]] = []
        self._next = 0

    def moved(self, inputs: Any) -> Any:
        """Return a tensor of the CPU on the device."""
        import torch

        if not self._pairs or self._pairs[0][0].shape != inputs.shape:
            self._pairs = [
                (torch.empty_like(inputs).pin_memory(), torch.empty_like(inputs, device=self._device))
                for _ in range(self.COUNT)
            ]
        pinned, there = self._pairs[self._next % self.COUNT]
        self._next += 1
        pinned.copy_(inputs)
        return there.copy_(pinned, non_blocking=True)


def _program(name: str, path: Path, target: Target) -> Any:
    import torch

    _check(name, target)
    if not path.is_file():
        raise MeasurementError(f"{path}: no such file; give a .pt2 file")
    held = plain_archive(path)
    try:
        with quietly(stdout=False):
            return torch.export.load(held)
    except Exception as error:
        raise MeasurementError(f"{path}: PyTorch cannot load it: {one_line(error)}") from error


def _check(name: str, target: Target) -> None:
    if target.device not in ("cpu", "cuda"):
        raise RuntimeUnavailable(f"{name}: unknown device {target.device!r}, allowed: cpu, cuda; change the target")
    if target.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise RuntimeUnavailable(f"{name}: torch {torch.__version__} finds no CUDA device; use device 'cpu'")
