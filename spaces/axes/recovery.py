"""The axis `recovery`: how the student is taught."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from ..groups import LeftOut
from ..plan import Plan, Recovery
from .base import Choice, Ground, Number, Parameter, Value


@dataclass(frozen=True)
class RecoveryAxis:
    """Distillation temperature and alpha, learning rate, feature matching, and quantization-aware training."""

    ground: Ground
    name: str = "recovery"

    def parameters(self) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {
            "temperature": Number(1.0, 10.0, log=True),
            "alpha": Number(0.0, 1.0),
            "learning_rate": Number(0.003, 0.1, log=True),
            "feature_weight": Number(0.0, 1.0),
        }
        if any(b < 16 for b in self.ground.capabilities.latency_bits):
            found["quantization"] = Choice(("post_training", "aware"))
        return found

    def apply(self, plan: Plan, values: Mapping[str, Value]) -> Plan:
        aware = values.get("quantization") == "aware" and any(b < 16 for b in plan.bits.values())
        recovery = Recovery(
            temperature=_three_digits(values["temperature"]),
            alpha=_three_digits(values["alpha"]),
            learning_rate=_three_digits(values["learning_rate"]),
            feature_weight=_three_digits(values["feature_weight"]),
            quantization_aware=aware,
        )
        return replace(plan, recovery=recovery)

    def left_out(self) -> tuple[LeftOut, ...]:
        return ()


def _three_digits(value: Value) -> float:
    """Three significant digits: plans that differ by less are one plan."""
    return float(f"{float(value):.3g}")
