"""How the time of a file is shared out over the layers of its network, from its runtime's own profile."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ..spaces.target import Target
from .measurement import Latency
from .runtimes.base import Arrays
from .runtimes.profiling import FEWEST, SECONDS, WARM_UP, OperatorTime, ProfilingRuntime
from .timing.quiet import QuietMachine

LOADING_TIMES, READING_S = 3.0, 0.3
"""How many times as long a file takes to load where it is profiled, and seconds to read the profile: estimates."""


@dataclass(frozen=True)
class Together:
    """Layers that one operator runs, and its share of the time."""

    layers: tuple[str, ...]
    share: float


@dataclass(frozen=True)
class LayerShares:
    """The shares of a file's time, which sum to 1 over all attributes.

    Attributes:
        layers: Layer -> share of the operators that run it alone.
        together: Shares of operators that run several layers.
        other: Operator type -> share, of what belongs to no layer: activations, changes of format, ...
    """

    layers: Mapping[str, float]
    together: tuple[Together, ...] = ()
    other: Mapping[str, float] = field(default_factory=dict)

    @classmethod
    def of(cls, operators: Sequence[OperatorTime]) -> LayerShares | None:
        """Return the shares of a profile; None where it has no operators."""
        total_ms = sum(operator.time_ms for operator in operators)
        if total_ms <= 0:
            return None
        layers: Counter[str] = Counter()
        together: Counter[tuple[str, ...]] = Counter()
        other: Counter[str] = Counter()
        for operator in operators:
            share = operator.time_ms / total_ms
            if not operator.layers:
                other[operator.operator] += share  # type: ignore[assignment]
            elif len(operator.layers) == 1:
                layers[operator.layers[0]] += share  # type: ignore[assignment]
            else:
                together[operator.layers] += share  # type: ignore[assignment]
        return cls(dict(layers), tuple(Together(*item) for item in together.items()), dict(other.most_common()))

    @property
    def named(self) -> float:
        """The share that lies in named layers, alone or together."""
        return sum(self.layers.values()) + sum(part.share for part in self.together)


def profiled_shares(
    runtime: ProfilingRuntime, path: Path, target: Target, inputs: Arrays, layers: Mapping[str, str]
) -> LayerShares | None:
    """Profile a file under the lock of its device.

    Args:
        runtime: The target's runtime.
        path: The file.
        target: Where it runs.
        inputs: One or more of each input, [N, ...]; they are repeated up to the target's batch.
        layers: Node name -> layer name; see `ProfilingRuntime.profile`, also for what this raises.

    Returns:
        The shares; None where the runtime has no profile on this device.
    """
    parts = inputs if isinstance(inputs, tuple) else (inputs,)
    arrays = tuple(part[np.arange(target.batch) % len(part)] for part in parts)
    with QuietMachine(target.device).measuring():
        return LayerShares.of(runtime.profile(path, target, arrays, layers))


def seconds_to_profile(latency: Latency) -> float:
    """Estimate what a profile of a file takes, from the file's latency."""
    runs_s = max(SECONDS, FEWEST * latency.p50_ms / 1000) + WARM_UP * latency.p50_ms / 1000
    return READING_S + LOADING_TIMES * latency.load_ms / 1000 + runs_s
