"""A trial: a plan, its state and what was measured of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

from ..evaluators.measurement import Latency, Measurement
from ..spaces.axes.base import Value
from ..spaces.plan import Plan

SEED = "seed"
"""The origin of the plans that an integer program opens a study with."""
OF_THE_SEARCH = ("search", SEED, "move", "cross")
"""How origins of what the search itself proposed begin; all others are what a user would do by hand."""

Outcome = Literal["running", "waiting", "gated", "stopped", "finished", "failed"]


@dataclass(frozen=True)
class Heritage:
    """Whose recovered weights a student begins with instead of the teacher's: a finished trial's number, its plan, and
    the name of its last checkpoint."""

    number: int
    plan: Plan
    checkpoint: str

    def to_dict(self) -> dict[str, Any]:
        return {"number": self.number, "plan": self.plan.to_dict(), "checkpoint": self.checkpoint}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Heritage:
        return cls(**{**data, "plan": Plan.from_dict(data["plan"])})


@dataclass(frozen=True)
class Trial:
    """One trial, running, waiting at a rung, or ended. Never changed: each step gives a new one.

    origin: "search", "seed", "move of N", "cross of N and M", or what a user would do by hand, such as "teacher" (see
    `baseline`). latent: what a sampler knows of the plan. gate, gate_bytes: latency and file size of its shape, before
    training, and gate_elsewhere the latency on further targets, by name. first_look: accuracy before any training.
    heritage: whose weights it began with, None for the teacher's. rungs: accuracy of the student on the validation
    split after each rung. reason: why it ended, where it did not finish. seconds: by kind of work, "training",
    "measuring", "building". ended_s: seconds of searching, over all runs of the study, after which it ended.
    """

    number: int
    plan: Plan
    origin: str
    outcome: Outcome = "running"
    latent: Mapping[str, Value] | None = None
    gate: Latency | None = None
    gate_bytes: int = 0
    gate_elsewhere: Mapping[str, Latency] = field(default_factory=dict)
    first_look: float | None = None
    heritage: Heritage | None = None
    rungs: tuple[float, ...] = ()
    measurement: Measurement | None = None
    reason: str = ""
    seconds: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    ended_s: float | None = None

    @property
    def baseline(self) -> bool:
        """Whether it is what a user would do by hand."""
        return not self.origin.startswith(OF_THE_SEARCH)

    @property
    def anchor(self) -> bool:
        """Whether it is trained to its end whatever others do: it stands for a whole region, and the front of a short
        study is made of such."""
        return self.baseline or self.origin == SEED

    @property
    def finished(self) -> bool:
        """Whether its file was built and measured."""
        return self.outcome == "finished"

    def spent(self, seconds: Mapping[str, float]) -> Trial:
        """With these seconds added."""
        total = {k: self.seconds.get(k, 0.0) + seconds.get(k, 0.0) for k in {*self.seconds, *seconds}}
        return replace(self, seconds=total)

    def to_dict(self) -> dict[str, Any]:
        return {
            "number": self.number,
            "plan": self.plan.to_dict(),
            "origin": self.origin,
            "outcome": self.outcome,
            "latent": None if self.latent is None else dict(self.latent),
            "gate": self.gate and asdict(self.gate),
            "gate_bytes": self.gate_bytes,
            "gate_elsewhere": {name: asdict(latency) for name, latency in self.gate_elsewhere.items()},
            "first_look": self.first_look,
            "heritage": self.heritage and self.heritage.to_dict(),
            "rungs": list(self.rungs),
            "measurement": self.measurement and self.measurement.to_dict(),
            "reason": self.reason,
            "seconds": dict(self.seconds),
            "seed": self.seed,
            "ended_s": self.ended_s,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Trial:
        return cls(
            **{
                **data,
                "plan": Plan.from_dict(data["plan"]),
                "gate": data["gate"] and Latency.from_dict(data["gate"]),
                "gate_elsewhere": {k: Latency.from_dict(v) for k, v in data.get("gate_elsewhere", {}).items()},
                "heritage": Heritage.from_dict(data["heritage"]) if data.get("heritage") else None,
                "rungs": tuple(data["rungs"]),
                "measurement": data["measurement"] and Measurement.from_dict(data["measurement"]),
            }
        )
