"""A target: where the model will run."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Target:
    """A runtime on a device. threads: intra-op threads of the runtime. batch: images per inference."""

    runtime: str = "onnxruntime"
    device: str = "cpu"
    threads: int = 1
    batch: int = 1

    @property
    def name(self) -> str:
        """The runtime, with the device where that is not the CPU: "openvino", "tensorrt@cuda"."""
        return self.runtime if self.device == "cpu" else f"{self.runtime}@{self.device}"


@dataclass(frozen=True)
class Capabilities:
    """What a runtime can really use on this device.

    latency_bits: bit-widths with a kernel that can be faster than 32. storage_bits: bit-widths that run but only
    make the file smaller. channel_multiple: channel counts worth having are multiples of this (of 8 where a
    group has at most 24 channels). patterns: sparsity patterns that can be faster. one_float: all float layers of
    a file run in one precision, so that 16 bits anywhere means 16 bits wherever it is not less.
    """

    latency_bits: tuple[int, ...]
    storage_bits: tuple[int, ...]
    channel_multiple: int
    patterns: tuple[str, ...] = ()
    one_float: bool = False
