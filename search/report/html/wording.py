"""A plan, a share and a size in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ....spaces.spec import Recovery
from ...trial import Trial


class PlanWords:
    """Tells plans of one study in words."""

    def __init__(self, space: Mapping[str, Any]) -> None:
        """Take in what is the same for all plans.

        Args:
            space: The study's `space.json`.
        """
        self._layers = Counter(layer.get("network", "") for layer in space.get("layers", []))
        self._channels: dict[str, dict[str, int]] = {}
        for group in space.get("groups", []):
            self._channels.setdefault(group.get("network", ""), {})[group["name"]] = group["channels"]

    def of(self, trial: Trial) -> list[str]:
        """Return what a plan does to the network that it cuts from, a few words for each kind of decision."""
        spec = trial.spec
        layers = self._layers[spec.student]
        return [
            *self._widths(spec.channels, spec.student),
            *(
                f"{bits} bits in {_of_layers(count, layers)}"
                for bits, count in sorted(Counter(spec.bits.values()).items())
            ),
            *(
                f"{way} activations in {_of_layers(count, layers)}"
                for way, count in sorted(Counter(spec.activations.values()).items())
            ),
            *(
                f"{kind} zeros in {_of_layers(count, layers)}"
                for kind, count in sorted(Counter(p.kind for p in spec.patterns.values()).items())
            ),
            *([f"{len(spec.replacements)} modules replaced"] if spec.replacements else []),
            *([f"{len(spec.dropped)} blocks dropped"] if spec.dropped else []),
            *([f"cut from student {spec.student}"] if spec.student else []),
            *([f"looks at inputs of size {spec.size}"] if spec.size else []),
            *([f"two factors in the place of {_of_layers(len(spec.factors), layers)}"] if spec.factors else []),
            *([f"for {spec.target}"] if spec.target else []),
            *([] if trial.plan.choices or spec.channels or spec.bits else ["the teacher as it is"]),
            teaching(spec.recovery),
        ]

    def _widths(self, kept: Mapping[str, int], student: str) -> list[str]:
        channels = self._channels.get(student, {})
        changed = {name: count for name, count in kept.items() if name in channels}
        if not changed:
            return []
        total = sum(channels.values())
        left = total - sum(channels[name] - count for name, count in changed.items())
        return [f"{100 * left / total:.0f} % of channels ({len(changed)} of {len(channels)} groups narrower)"]


def _of_layers(count: int, layers: int) -> str:
    return f"{count} of {layers} layers" if layers else f"{count} layers"


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
    """Return milliseconds with four significant digits at most three behind the point."""
    return f"{ms:.3f}" if ms < 100 else f"{ms:.1f}"


def duration(seconds: float) -> str:
    """Return a time span in the unit that suits it."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def short(value: float | None, digits: int = 5) -> float | int | None:
    """Return a number with few significant digits, so that a report stays small."""
    if value is None:
        return None
    rounded = float(f"{value:.{digits}g}")
    return int(rounded) if rounded.is_integer() else rounded
