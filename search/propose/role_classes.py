"""Role classes: the network variables of one axis that play the same part, whatever their stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ...spaces.space import Space
from ...spaces.surrogates import LatencySurrogate
from ...spaces.variables import Variable


@dataclass(frozen=True)
class RoleClass:
    """Variables that are treated alike where a whole network is described in a few numbers.

    Attributes:
        axis: Of all of them.
        role: Of all of them, without the number of a stage: "stream" for "stream 1" and "stream 2".
        places: Their numbers in `Space.network`, in order of depth.
    """

    axis: str
    role: str
    places: tuple[int, ...]

    @property
    def name(self) -> str:
        """The name: "channels.stream"."""
        return f"{self.axis}.{self.role}" if self.role else self.axis


def role_classes(space: Space) -> tuple[RoleClass, ...]:
    """Return the classes of a space, in the order of its axes and of their first variables."""
    found: dict[tuple[str, str], list[int]] = {}
    for place, variable in enumerate(space.network):
        found.setdefault((variable.axis, _without_number(variable)), []).append(place)
    depth = [variable.depth for variable in space.network]
    return tuple(RoleClass(*key, tuple(sorted(places, key=lambda p: depth[p]))) for key, places in found.items())


def by_weight(space: Space, classes: Sequence[RoleClass], latency: LatencySurrogate | None) -> tuple[RoleClass, ...]:
    """Return the classes, the one whose variables save most first.

    What a class saves is the latency that is won, or without a predictor the part of the multiply-accumulates that its
    variables reach, when each of its variables takes its last option and all others their first.

    Args:
        space: The space.
        classes: Its classes.
        latency: Predicts latency where that is possible.
    """
    return tuple(sorted(classes, key=lambda c: -_saved(space, c, latency)))


def _saved(space: Space, found: RoleClass, latency: LatencySurrogate | None) -> float:
    network = space.network
    if latency is None:
        reached = {layer for place in found.places for layer in network[place].layers}
        macs = sum(layer.macs for layer in space.context.layers if layer.name in reached)
        return macs * float(np.mean([1 - network[place].parts[-1] for place in found.places]))
    last = [len(v.options) - 1 if i in set(found.places) else 0 for i, v in enumerate(network)]
    like = space.taught
    teacher_ms = latency.predict_ms(space.spec(space.assemble([0] * len(network), like)))
    return teacher_ms - latency.predict_ms(space.spec(space.assemble(last, like)))


def _without_number(variable: Variable) -> str:
    # a student of the user's own stands behind the number in brackets
    return re.sub(r"^([^(]*?)\s*\d+(?=$| \()", r"\1", variable.role)
