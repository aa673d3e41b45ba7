"""What a measured file is worth."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class Latency:
    """Wall time of one inference, in milliseconds, with the 95 % interval of the median.

    ratio: to the fixed reference model, with its own interval. processes: fresh processes it was measured in.
    disturbed: other work was seen on the machine's cores while measuring. peak_memory_mb: resident memory of a fresh
    process that runs this file alone. conditions: device, instruction sets, threads, batch, runtime and version,
    load. energy_mj: of one inference, None where the machine does not tell it.
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
    peak_memory_mb: float | None
    conditions: dict[str, Any] = field(default_factory=dict)
    energy_mj: float | None = None

    @property
    def throughput_per_s(self) -> float:
        """Images per second when one inference follows the other: the batch over the mean."""
        return float(self.conditions.get("batch", 1)) / self.mean_ms * 1e3

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
    the graph that really runs. remark: where that graph is not what the plan asked for, else empty. elsewhere: what
    the same student's files for other targets are worth, by target, where a study builds for several.
    """

    accuracy: float
    latency: Latency
    size_bytes: int
    compressed_bytes: int
    operators: dict[str, int]
    remark: str = ""
    elsewhere: dict[str, Measurement] = field(default_factory=dict)

    @property
    def files(self) -> tuple[Measurement, ...]:
        """This file and those for other targets."""
        return (self, *self.elsewhere.values())

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Measurement:
        others = {name: cls.from_dict(other) for name, other in data.get("elsewhere", {}).items()}
        return cls(**{**data, "latency": Latency.from_dict(data["latency"]), "elsewhere": others})
