"""Core ML: ML Programs (.mlpackage). Written on Linux and macOS, run on macOS only. Needs the extra `coreml`."""

from __future__ import annotations

import importlib
import importlib.util
import platform
import tempfile
import warnings
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, RuntimeUnavailable, one_line
from ...files import PARTIAL
from ...spaces.target import Capabilities, Target
from .base import Availability, BuildRequest, Loaded, TensorInfo
from .coreml_convert import LAYER_OPERATORS, convert, silently

# Device -> coremltools.ComputeUnit. Whatever a GPU or the Neural Engine ("ane") cannot do, Core ML gives to the CPU.
_UNITS = {"cpu": "CPU_ONLY", "gpu": "CPU_AND_GPU", "ane": "CPU_AND_NE", "all": "ALL"}
_ONLY_MACOS = "Core ML runs only on macOS; its files are built here, not run"
_INSTALL = "pip install 'autocompress[coreml]'"
_WORDS = {32: "float32", 16: "float16", 8: "int8", 4: "int4"}


class CoreMl:
    """Core ML (https://apple.github.io/coremltools/docs-guides), for iOS 18, macOS 15 and later.

    These are the first with 4-bit weights. Core ML picks its threads itself: `threads` of a target means nothing here.
    """

    name = "coreml"
    suffix = ".mlpackage"
    synchronous = False  # on the CPU it works with threads of its own, so that CPU time is no latency

    def available(self) -> Availability:
        """Return whether coremltools can run files (on macOS), or at least write them (on Linux). It never raises."""
        from importlib.metadata import version

        if importlib.util.find_spec("coremltools") is None:
            return Availability(False, f"No module named 'coremltools'; {_INSTALL}")
        found = version("coremltools")
        if platform.system() == "Linux":  # without an import, which takes seconds
            return Availability(False, _ONLY_MACOS, found, tuple(_UNITS), builds_only=True)
        if platform.system() != "Darwin":
            return Availability(False, "coremltools needs macOS or, to build files, Linux", found)
        try:
            _library()
            importlib.import_module("coremltools.libcoremlpython")  # Core ML itself, which a broken install lacks
        except Exception as error:
            return Availability(False, f"{one_line(error)}; {_INSTALL}", found)
        neural_engine = platform.machine() == "arm64"
        return Availability(True, version=found, devices=tuple(d for d in _UNITS if d != "ane" or neural_engine))

    def capabilities(self, target: Target) -> Capabilities:
        """Return what Core ML can use.

        float16 is its own form, and the only one the Neural Engine runs ("Typed Execution" in the guide of
        coremltools). Weights of 8 and 4 bits are turned back to float16: they make files smaller. 8 bits compute
        faster only together with 8-bit activations, on the Neural Engine from A17 Pro and M4 on ("Quantization:
        Performance"); those ranges can be calibrated on macOS only and are not written here.

        Raises:
            RuntimeUnavailable: The device is unknown.
        """
        _units(target)
        return Capabilities(latency_bits=(32, 16), storage_bits=(8, 4), channel_multiple=8, one_input=True)

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write a package (a folder) with batch size `request.batch`, whole or not at all; what lies there is replaced.

        Layers of 16 bits compute in float16, those of 32 in float32, and operators between layers as the layer before
        them. Layers of 8 and 4 bits compute in float16 with weights stored as int8 or int4, symmetric, one scale for
        each output channel. Float weights of which a quarter or more is zero are stored as a mask and the rest.

        Raises:
            MeasurementError: It cannot be converted.
            RuntimeUnavailable: coremltools is missing.
        """
        if request.module is None:
            raise MeasurementError(f"{path}: Core ML builds from the student itself, got none; give request.module")
        path.parent.mkdir(parents=True, exist_ok=True)
        _library()
        with tempfile.TemporaryDirectory(prefix=PARTIAL, dir=path.parent) as folder:
            part = Path(folder) / f"model{self.suffix}"
            try:
                with silently():
                    convert(request, Path(folder), part)
            except MeasurementError as error:
                raise MeasurementError(f"{path}: {error}") from error
            except Exception as error:
                raise MeasurementError(f"{path}: cannot be converted for Core ML: {one_line(error)}") from error
            if path.exists():
                path.rename(Path(folder) / "replaced")
            part.rename(path)

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Compare the weights in the program with the bits asked for."""
        asked = Counter(_WORDS[b] for b in bits)
        built: Counter[str] = Counter()
        for name, count in operators.items():
            kind, _, rest = name.partition(" in ")
            if kind in LAYER_OPERATORS:  # the last word is what it computes in, or what its weights are stored in
                built[rest.removesuffix(" weights").split()[-1]] += count
        if all(built[word] >= count for word, count in asked.items()):
            return ""  # more than asked for: operators with weights that are no layers, as in attention
        return f"layers are stored in {_words(built)}, asked for {_words(asked)}"

    def load(self, path: Path, target: Target) -> Loaded:
        """Load a package onto the target's compute units, on macOS only; see `Runtime.load` for what it raises."""
        units = _units(target)
        if platform.system() != "Darwin":
            raise RuntimeUnavailable(f"coreml: {_ONLY_MACOS}; run {path.name} on a Mac")
        return _LoadedPackage(path, units)

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return "operator in precision" -> count, with ", int8 weights" or the like where weights are stored so.

        It is read from the package, so also where that cannot run; on which unit each operator runs it does not say.
        See `Runtime.inspect` for what it raises.
        """
        _units(target)
        kinds: Counter[str] = Counter()
        for function in _spec(path).mlProgram.functions.values():
            made: dict[str, Any] = {}
            for operator in function.block_specializations[function.opset].operations:
                made.update((output.name, operator) for output in operator.outputs)
                if operator.type == "const" or operator.type.startswith("constexpr_"):
                    continue
                precision = _precision(operator.outputs[0])
                stored = _stored(operator, made)
                kinds[f"{operator.type} in {precision}" + (f", {stored} weights" if stored else "")] += 1
        return dict(sorted(kinds.items()))


class _LoadedPackage:
    def __init__(self, path: Path, units: str) -> None:
        description = _spec(path).description
        count = len(description.input)
        if count != 1:
            raise MeasurementError(f"{path}: has {count} inputs, allowed: 1; convert it with one input")
        kind = description.input[0].type
        if kind.WhichOneof("Type") != "multiArrayType":
            raise MeasurementError(f"{path}: input is a {kind.WhichOneof('Type')}, allowed: an array of numbers")
        array = kind.multiArrayType
        dtype = np.dtype(array.ArrayDataType.Name(array.dataType).lower())
        self.inputs = (TensorInfo(description.input[0].name, tuple(array.shape), dtype),)
        self._path = path
        self._input, self._output = description.input[0].name, description.output[0].name
        library = _library()
        try:
            with warnings.catch_warnings():
                # Core ML's refusal of a package comes as a warning; the question after it finds other reasons
                warnings.filterwarnings("error", "You will not be able to run predict")
                self._model = library.models.MLModel(str(path), compute_units=library.ComputeUnit[units])
                self._model.get_compiled_model_path()
        except Exception as error:
            raise MeasurementError(f"{path}: Core ML cannot load it: {one_line(error)}") from error

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        (array,) = arrays
        try:
            output: NDArray[Any] = self._model.predict({self._input: array})[self._output]
        except Exception as error:
            raise MeasurementError(f"{self._path}: cannot be run: {one_line(error)}") from error
        return output


def _stored(operator: Any, made: Mapping[str, Any]) -> str:
    # what the weights of an operator are stored in, where that is not what it computes in
    names = [argument.name for argument in operator.inputs["weight"].arguments] if "weight" in operator.inputs else []
    source = made.get(names[0]) if names else None
    if source is None or source.type == "const":
        return ""
    for key, form in (("data", ""), ("nonzero_data", "sparse ")):
        if key in source.inputs:
            return form + _precision(source.inputs[key].arguments[0].value)
    return str(source.type)  # a form that is not written here


def _precision(value: Any) -> str:
    from coremltools.proto import MIL_pb2

    return str(MIL_pb2.DataType.Name(value.type.tensorType.dataType)).lower()


def _spec(path: Path) -> Any:
    library = _library()
    if not path.exists():
        raise MeasurementError(f"{path}: no such package; give an .mlpackage folder")
    try:
        spec = library.models.utils.load_spec(str(path))
    except Exception as error:
        raise MeasurementError(f"{path}: is no Core ML package: {one_line(error)}") from error
    if b"@model_path/weights/" in spec.SerializeToString() and not any(path.rglob("weight.bin")):
        raise MeasurementError(f"{path}: its weights are missing, weight.bin is not there; copy the whole folder")
    if spec.WhichOneof("Type") != "mlProgram":
        raise MeasurementError(f"{path}: holds {spec.WhichOneof('Type')}, allowed: mlProgram; convert it to one")
    return spec


def _units(target: Target) -> str:
    if target.device not in _UNITS:
        raise RuntimeUnavailable(
            f"coreml: unknown device {target.device!r}, allowed: {', '.join(_UNITS)}; change the target"
        )
    return _UNITS[target.device]


def _library() -> Any:
    try:
        with silently():
            import coremltools
    except ImportError as error:
        raise RuntimeUnavailable(f"coreml: {one_line(error)}; {_INSTALL}") from error
    return coremltools


def _words(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{word} {count}" for word, count in sorted(counts.items()) if count)
