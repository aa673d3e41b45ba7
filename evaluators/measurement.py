"""What a measured file is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Wall time of one inference, in milliseconds, with the 95 % interval of the median.

    ratio: to the fixed reference model, with its own interval. processes: fresh processes it was measured in.
    disturbed: other work was seen on the machine's cores while measuring. conditions: device, instruction sets,
    threads, batch, runtime and version, load.
    """

    p50_ms: float
    low_ms: float
    high_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    mean_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float
    samples: int
    warmup: int
    processes: int
    disturbed: bool
    load_ms: float
    peak_memory_mb: float
    conditions: dict[str, Any] = field(default_factory=dict)

    def at(self, percentile: int) -> float:
        """The latency (ms) held against a budget: 50 is the upper end of the median's interval, 90, 95 and 99
        scale that tail by the same relative uncertainty."""
        tail = {50: self.p50_ms, 90: self.p90_ms, 95: self.p95_ms, 99: self.p99_ms}[percentile]
        return tail * self.high_ms / self.p50_ms

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Latency:
        return cls(**data)


@dataclass(frozen=True)
class Measurement:
    """What one file is worth. accuracy: of the file, run by its runtime over the validation split. operators: of
    the graph that really runs. remark: where that graph is not what the plan asked for, else empty.
    """

    accuracy: float
    latency: Latency
    size_bytes: int
    compressed_bytes: int
    operators: dict[str, int]
    remark: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Measurement:
        return cls(**{**data, "latency": Latency.from_dict(data["latency"])})
