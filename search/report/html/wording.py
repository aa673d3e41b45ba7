"""A plan, a share and a size in words."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ....evaluators.measurement import ms_text
from ....spaces.spec import Recovery, StudentSpec
from ...trial import Trial
from ..lost_layers import lost_layers


class PlanWords:
    """Tells plans of one study in words."""

    def __init__(self, space: Mapping[str, Any]) -> None:
        """Take in what is the same for all plans.

        Args:
            space: The study's `space.json`.
        """
        self._space = space
        self._layers: dict[str, set[str]] = {}
        self._channels: dict[str, dict[str, int]] = {}
        self._writers: dict[str | None, set[str]] = {}
        for layer in space.get("layers", []):
            self._layers.setdefault(layer.get("network", ""), set()).add(layer["name"])
            self._writers.setdefault(layer["group"], set()).add(layer["name"])
        for group in space.get("groups", []):
            self._channels.setdefault(group.get("network", ""), {})[group["name"]] = group["channels"]

    def of(self, trial: Trial) -> list[str]:
        """Return what a plan does to the network that it cuts from, a few words for each kind of decision.

        Shares are those of what is left: layers of dropped blocks have neither channels nor bits.
        """
        spec = trial.spec
        gone = lost_layers(self._space, spec)
        left = len(self._layers.get(spec.student, set()) - gone)

        def layers(values: Mapping[str, Any]) -> list[tuple[Any, str]]:
            counts = Counter(value for name, value in values.items() if name not in gone)
            return [(value, f"{n} of {left} layers" if left else f"{n} layers") for value, n in sorted(counts.items())]

        return [
            *self._widths(spec, gone),
            *(f"{bits} bits in {where}" for bits, where in layers(spec.bits)),
            *(f"{way} activations in {where}" for way, where in layers(spec.activations)),
            *(f"{kind} zeros in {where}" for kind, where in layers({n: p.kind for n, p in spec.patterns.items()})),
            *([f"{len(spec.replacements)} modules replaced"] if spec.replacements else []),
            *([f"{len(spec.dropped)} blocks dropped"] if spec.dropped else []),
            *([f"cut from student {spec.student}"] if spec.student else []),
            *([f"looks at inputs of size {spec.size}"] if spec.size else []),
            *(f"two factors in the place of {where}" for _, where in layers(dict.fromkeys(spec.factors, ""))),
            *([f"for {spec.target}"] if spec.target else []),
            *([] if trial.plan.choices or spec.channels or spec.bits else ["the teacher as it is"]),
            teaching(spec.recovery),
        ]

    def _widths(self, spec: StudentSpec, gone: frozenset[str]) -> list[str]:
        channels = {
            name: count for name, count in self._channels.get(spec.student, {}).items() if not self._is_gone(name, gone)
        }
        changed = {name: count for name, count in spec.channels.items() if name in channels}
        if not changed:
            return []
        total = sum(channels.values())
        left = total - sum(channels[name] - count for name, count in changed.items())
        return [f"{100 * left / total:.0f} % of channels ({len(changed)} of {len(channels)} groups narrower)"]

    def _is_gone(self, group: str, gone: frozenset[str]) -> bool:
        writers = self._writers.get(group)
        return writers is not None and gone.issuperset(writers)


def teaching(recovery: Recovery | None) -> str:
    """Return how a student is taught, in a few words."""
    if recovery is None:
        return "not trained"
    learned = " of learned steps" if recovery.learned_steps else ""
    aware = f", with fake quantization{learned}" if recovery.quantization_aware else ""
    by = " by AdamW" if recovery.optimizer == "adamw" else ""
    return (
        f"taught{by} at temperature {recovery.temperature:.3g}, alpha {recovery.alpha:.3g}"
        f"{recovery.aids_in_words()}, learning rate {recovery.peak_rate:.3g}{aware}"
        f"{few_weights(recovery)}{beginning(recovery)}"
    )


def beginning(recovery: Recovery) -> str:
    """Return what a training begins with, after a comma; nothing where that is the trained weights with all zeros."""
    start = ", from new weights" if recovery.fresh else ", from early weights of the teacher" if recovery.early else ""
    return start + (", zeros little by little" if recovery.ramp else "")


def few_weights(recovery: Recovery) -> str:
    """Return which weights are trained, after a comma; nothing where all are."""
    return {
        "classifier": ", the last layer alone",
        "bitfit": ", biases, norms and the last layer alone (BitFit)",
        "lora": f", by updates of rank {recovery.rank} (LoRA)",
        "qlora": f", by updates of rank {recovery.rank} of weights in 8 bits (QLoRA)",
        "adapters": f", by adapters of {recovery.rank} channels, biases, norms and the last layer",
    }.get(recovery.tune, "")


def kilobytes(size_bytes: float) -> str:
    """Return a size as text."""
    if size_bytes < 9_999_500:
        return f"{size_bytes / 1e3:.0f} kB" if size_bytes >= 10_000 else f"{size_bytes / 1e3:.1f} kB"
    return f"{size_bytes / 1e6:.1f} MB"


def milliseconds(ms: float) -> str:
    """Return milliseconds: one digit behind the point of long ones, more of short ones; `ms` of format.js is alike."""
    return ms_text(ms) if ms < 100 else f"{ms:.1f}"


def duration(seconds: float) -> str:
    """Return a time span in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(value: float | None, digits: int = 5) -> float | int | None:
    """Return a number with few significant digits, so that a report stays small; None for what is no number."""
    if value is None or not math.isfinite(value):
        return None  # JSON has no other word for it
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded
