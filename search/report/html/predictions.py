"""What a search predicts, kept in the study's folder so that a report can say it without the network.

One file, `surrogates.json`, holds the sensitivity of each option alone, how well latency is predicted, and what each
layer of each finished model is predicted to take.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ....files import read_object, write_json
from ....spaces.spec import StudentSpec
from ....spaces.surrogates import Surrogates
from ....spaces.target import PerTarget
from ...trial import Trial
from .wording import short

TEACHER = 0
"""Stands for the teacher's layers where trial numbers stand for those of students."""


@dataclass(frozen=True)
class Predictions:
    """What is predicted, as it is kept.

    Attributes:
        sensitivity: Variable name -> divergence (nats) of each option alone.
        layer_ms: Target -> trial number as text -> milliseconds of each layer.
        relative_error: Half of the latency predictions that were held out were off by at most this part, by target.
    """

    sensitivity: Mapping[str, Sequence[float]] = field(default_factory=dict)
    layer_ms: PerTarget[Mapping[str, Sequence[float]]] = field(default_factory=dict)
    relative_error: PerTarget[float] = field(default_factory=dict)


def read_predictions(folder: Path) -> Predictions:
    """Return what a search predicted last; nothing where an older version searched.

    Raises:
        StorageError: The file cannot be read.
    """
    kept: dict[str, Any] = read_object(folder / "surrogates.json") or {}
    return Predictions(kept.get("sensitivity", {}), kept.get("layer_ms", {}), kept.get("relative_error", {}))


class PredictionsKeeper:
    """Writes what is predicted of trials; what was said of a trial before is not worked out again."""

    def __init__(self, folder: Path, surrogates: Surrogates) -> None:
        """Go on from what is kept.

        Args:
            folder: The study's folder.
            surrogates: What predicts.
        """
        self._folder, self._surrogates = folder, surrogates
        before = read_predictions(folder)
        self._sensitivity = {**before.sensitivity, **surrogates.sensitivity}
        self._layer_ms = {name: dict(before.layer_ms.get(name, {})) for name in surrogates.layers}

    def keep(self, trials: Sequence[Trial]) -> None:
        """Write what is predicted of the finished ones among these trials.

        Raises:
            StorageError: The disk is full or cannot be written.
        """
        for name, layers in self._surrogates.layers.items():
            found = self._layer_ms[name]
            wanted = {str(TEACHER): StudentSpec()} | {str(t.number): t.spec for t in trials if t.finished}
            for number, spec in wanted.items():
                if number not in found:
                    found[number] = [short(ms, 3) or 0.0 for ms in layers.layer_ms(spec)]
        errors = {name: known.relative_error for name, known in self._surrogates.latency.items()}
        kept = {"sensitivity": self._sensitivity, "layer_ms": self._layer_ms, "relative_error": errors}
        write_json(self._folder / "surrogates.json", kept)
