"""The seam of a runtime: what a class must offer so that files can be run, timed and looked into with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError
from ...spaces.spec import DYNAMIC
from ...spaces.target import Capabilities, Target


@dataclass(frozen=True)
class Availability:
    """Whether a runtime can be used here.

    Attributes:
        ok: Whether files can be built and run here.
        reason: What is missing and what to do, in one line, where they cannot.
        version: Of the runtime.
        devices: Those that files are for, such as "cpu"; where `ok`, those found here.
        builds_only: Whether files can be written here but not run (an engine without its GPU); they are timed and
            scored elsewhere.
    """

    ok: bool
    reason: str = ""
    version: str = ""
    devices: tuple[str, ...] = ()
    builds_only: bool = False

    @property
    def builds(self) -> bool:
        """Whether files can be written here, run or not."""
        return self.ok or self.builds_only


Arrays = NDArray[Any] | tuple[NDArray[Any], ...]
"""The input of a network, [N, ...], or a tuple of them for a network that takes several."""

Ranges = Mapping[str, tuple[float, float]]
"""Name of a tensor or of a layer -> the least and the largest value that its 8 bits stand for."""


@dataclass(frozen=True)
class TensorInfo:
    """One input of a file.

    Attributes:
        name: Of the input.
        shape: Batch first; None where a dimension is symbolic.
        dtype: Of its numbers.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class BuildRequest:
    """A student on its way to a file.

    Attributes:
        model: Its float graph (onnx.ModelProto).
        layers: Node name -> layer name.
        bits: Layer name -> 16, 8 or 4, for layers that are not 32.
        calibration: Inputs [M, ...] of the calibration split, for the ranges of activations.
        module: The student itself (torch.nn.Module in eval mode, on the CPU), for runtimes that do not start from ONNX.
        batch: Of the graph; 1 where it is free.
        target_batch: Inputs per inference on the target, which a file with a free batch is to be best at.
        ranges: Of activations, by tensor, where they are known; see `calibrating.CalibratingRuntime`. Where there are
            none, a runtime takes them from the calibration inputs in its own way.
        trained: Layer name -> range of its inputs, as quantization-aware training has learned it.
        tables: Name of a node that looks rows up -> name of the embedding that they are of.
        recurrent: Name of a node that runs a recurrent layer -> name of the layer.
        activations: Layer name -> "dynamic" or "float", as `spaces.spec.StudentSpec` has them; only what the runtime
            has among the ways of its capabilities.
    """

    model: Any
    layers: Mapping[str, str]
    bits: Mapping[str, int]
    calibration: Arrays
    module: Any = None
    batch: int = 1
    target_batch: int = 1
    ranges: Ranges = field(default_factory=dict)
    trained: Ranges = field(default_factory=dict)
    tables: Mapping[str, str] = field(default_factory=dict)
    recurrent: Mapping[str, str] = field(default_factory=dict)
    activations: Mapping[str, str] = field(default_factory=dict)

    @property
    def static_bits(self) -> Mapping[str, int]:
        """The bits of layers whose activations, if they have few bits too, have ranges known before the file runs."""
        others = {*self.tables.values(), *self.recurrent.values(), *self.activations}
        return {layer: width for layer, width in self.bits.items() if layer not in others}

    @property
    def widths(self) -> tuple[int, ...]:
        """The bits asked for of each layer in the graph, in its order, and of recurrent ones that run in them.

        Those that were not found in the graph come last. They stay in float there, unless a runtime finds them.
        """
        run = (layer for layer in self.recurrent.values() if self.activations.get(layer) == DYNAMIC)
        found = {*self.layers.values(), *self.tables.values(), *self.recurrent.values()}
        lost = (layer for layer in self.bits if layer not in found)
        return tuple(self.bits.get(layer, 32) for layer in (*self.layers.values(), *run, *lost))

    def one_input(self, runtime: str) -> NDArray[Any]:
        """Return the calibration inputs of a network that takes one.

        Args:
            runtime: Name of the runtime, for the message.

        Raises:
            MeasurementError: The network takes several inputs.
        """
        if isinstance(self.calibration, tuple):
            raise _several_inputs(runtime, len(self.calibration))
        return self.calibration


def check_inputs(runtime: str, can: Capabilities, count: int) -> None:
    """Refuse a network that takes more inputs than a runtime has files for, before anything is made for it.

    Args:
        runtime: Name of the runtime, for the message.
        can: What it can use.
        count: Inputs that the network takes.

    Raises:
        MeasurementError: The network takes several, and the runtime one.
    """
    if can.one_input and count > 1:
        raise _several_inputs(runtime, count)


def _several_inputs(runtime: str, count: int) -> MeasurementError:
    return MeasurementError(f"{runtime}: builds files of one input here, the network takes {count}; use onnxruntime")


class Loaded(Protocol):
    """A file loaded by its runtime."""

    @property
    def inputs(self) -> tuple[TensorInfo, ...]:
        """What it takes, in the order in which the network takes it."""
        ...

    def run(self, *arrays: NDArray[Any]) -> NDArray[Any]:
        """Return the first output, once it is ready.

        Args:
            *arrays: The inputs, of shapes that fit `inputs`.

        Raises:
            MeasurementError: The runtime cannot run it.
        """
        ...


@runtime_checkable
class Runtime(Protocol):
    """A runtime: it writes files, runs them, and says what it can use and what it did.

    It is made without arguments, cheaply: its library is imported only in the methods that need it, and `load` imports
    no torch where the library itself does not, because every timing process calls it.

    Attributes:
        name: An identifier, the same as its entry point's.
        suffix: Of its files, such as ".onnx".
        synchronous: Whether the work of `run` is done in the calling process, so that CPU time means something on a
            CPU with one thread.
    """

    name: str
    suffix: str
    synchronous: bool

    def available(self) -> Availability:
        """Return whether it can be used here. It never raises."""
        ...

    def capabilities(self, target: Target) -> Capabilities:
        """Return what a target can really use.

        Raises:
            RuntimeUnavailable: The runtime does not know the target's device.
        """
        ...

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write the file of a student, or the folder where that is this runtime's form.

        It never runs in a timing process, so it may import what it likes.

        Args:
            request: The student and what is asked for.
            path: Where the file is to lie.

        Raises:
            MeasurementError: This runtime has no form for what the request asks.
        """
        ...

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """Return in what the graph that really runs differs from what was asked for, in one line; empty if in nothing.

        Args:
            operators: The graph that really runs; see `inspect`.
            bits: What was asked for, one for each layer.
        """
        ...

    def load(self, path: Path, target: Target) -> Loaded:
        """Load a file as it will be deployed, for accuracy and latency alike.

        Raises:
            MeasurementError: The file is missing, corrupt, or takes other inputs than this runtime knows.
            RuntimeUnavailable: The file would not run on the device that was asked for.
        """
        ...

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Return operator type -> count, of the graph that really runs after the runtime's own rewriting.

        Raises:
            MeasurementError: The file is missing, corrupt, or takes other inputs than this runtime knows.
            RuntimeUnavailable: The file would not run on the device that was asked for.
        """
        ...
