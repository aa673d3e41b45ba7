"""The seam of a runtime: what a class must offer so that files can be run, timed and looked into with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from ...spaces.target import Capabilities, Target


@dataclass(frozen=True)
class Availability:
    """Whether a runtime can be used here. ok: files can be built and run here. reason: if not, what is missing and
    what to do. devices: those its files are for, such as "cpu"; where ok, those found here. builds_only: files can be
    written here but not run (an engine without its GPU); they are timed and scored elsewhere."""

    ok: bool
    reason: str = ""
    version: str = ""
    devices: tuple[str, ...] = ()
    builds_only: bool = False

    @property
    def builds(self) -> bool:
        """Whether files can be written here, be it only that."""
        return self.ok or self.builds_only


@dataclass(frozen=True)
class BuildRequest:
    """A student on its way to a file. model: its float graph (onnx.ModelProto). layers: node name -> layer name.
    bits: layer name -> 16, 8 or 4, for layers that are not 32. calibration: inputs [M, ...] float32 from the
    calibration split, for the ranges of activations. module: the student itself (torch.nn.Module in eval mode, on the
    CPU), for runtimes that do not start from ONNX. batch: that of the graph, 1 where it is free. target_batch: images
    per inference on the target, which a file with a free batch is to be best at."""

    model: Any
    layers: Mapping[str, str]
    bits: Mapping[str, int]
    calibration: NDArray[Any]
    module: Any = None
    batch: int = 1
    target_batch: int = 1


class Loaded(Protocol):
    """A file loaded by its runtime. input_shape: of its only input, batch first, None where it is symbolic."""

    @property
    def input_shape(self) -> tuple[int | None, ...]: ...

    @property
    def input_dtype(self) -> np.dtype[Any]: ...

    def run(self, array: NDArray[Any]) -> NDArray[Any]:
        """The first output for `array`, whose shape fits input_shape. Returns when the output is ready.

        Raises MeasurementError if the runtime cannot run it."""
        ...


@runtime_checkable
class Runtime(Protocol):
    """A runtime. Made without arguments, cheaply: its library is imported only in the methods that need it,
    and none of them imports torch, because every timing process calls `load`.

    name: an identifier, the same as its entry point's. suffix: of its files, such as ".onnx". synchronous: the
    work of `run` is done in the calling process, so that CPU time means something on a CPU with one thread.
    """

    name: str
    suffix: str
    synchronous: bool

    def available(self) -> Availability:
        """Whether it can be used here. Never raises."""
        ...

    def capabilities(self, target: Target) -> Capabilities:
        """What the target can really use. Raises RuntimeUnavailable for a device it does not know."""
        ...

    def build(self, request: BuildRequest, path: Path) -> None:
        """Write the file for this runtime (or the folder, where its form is one). Never run in a timing process, so
        it may import what it likes.

        Raises MeasurementError if this runtime has no form for what the request asks."""
        ...

    def remark(self, operators: Mapping[str, int], bits: Sequence[int]) -> str:
        """In what the graph that really runs (see `inspect`) differs from the bits asked for, one for each layer;
        empty when it does not."""
        ...

    def load(self, path: Path, target: Target) -> Loaded:
        """Load a file as it will be deployed, for accuracy and latency alike.

        Raises MeasurementError (file missing, corrupt or not of one input) and RuntimeUnavailable (the device
        asked for is not the one the file would run on)."""
        ...

    def inspect(self, path: Path, target: Target) -> dict[str, int]:
        """Operator type -> count, of the graph that really runs after the runtime's own rewriting.

        Raises as `load` does."""
        ...
