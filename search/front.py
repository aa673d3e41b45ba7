"""The front: the trials no other trial beats, and what a user does with it."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BudgetError
from ..evaluators.measurement import Latency
from .files import trial_folder
from .record import Trial

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Confirmed:
    """A second, longer look at a file: latency, interleaved with the others', and accuracy on the test split."""

    latency: Latency
    test_accuracy: float


@dataclass(frozen=True)
class Entry:
    """One finished trial with its best figures."""

    trial: Trial
    confirmed: Confirmed | None

    @property
    def accuracy(self) -> float:
        """On the validation split, of the file."""
        assert self.trial.measurement is not None
        return self.trial.measurement.accuracy

    @property
    def latency(self) -> Latency:
        """The longer measurement where there is one."""
        assert self.trial.measurement is not None
        return self.confirmed.latency if self.confirmed else self.trial.measurement.latency

    def objective(self, name: str) -> float:
        """One objective's value, lower is better."""
        assert self.trial.measurement is not None
        if name == "accuracy":
            return -self.accuracy
        if name == "latency_ms":
            return self.latency.p50_ms
        return float(getattr(self.trial.measurement, name))


def dominates(a: Sequence[float], b: Sequence[float]) -> bool:
    """Whether `a` is nowhere worse than `b` and somewhere better; lower is better."""
    return all(x <= y for x, y in zip(a, b, strict=True)) and any(x < y for x, y in zip(a, b, strict=True))


def non_dominated(points: Sequence[Sequence[float]]) -> list[int]:
    """Indices of the points that no other point dominates; lower is better."""
    return [i for i, p in enumerate(points) if not any(dominates(q, p) for q in points)]


@dataclass(frozen=True)
class Front:
    """All finished trials of a study, and among them those that no other beats.

    folder: of the study. percentile, budget_ms, min_accuracy, max_mb: what the study asks of a model.
    """

    folder: Path
    objectives: tuple[str, ...]
    trials: tuple[Trial, ...]
    confirmed: dict[int, Confirmed]
    percentile: int = 50
    budget_ms: float | None = None
    min_accuracy: float | None = None
    max_mb: float | None = None

    @property
    def entries(self) -> list[Entry]:
        """Every finished trial, fastest first."""
        found = [Entry(t, self.confirmed.get(t.number)) for t in self.trials if t.finished]
        return sorted(found, key=lambda e: e.latency.p50_ms)

    @property
    def best(self) -> list[Entry]:
        """The front itself, fastest first."""
        entries = self.entries
        points = [[e.objective(o) for o in self.objectives] for e in entries]
        return [entries[i] for i in non_dominated(points)]

    @property
    def teacher(self) -> Entry | None:
        """The teacher as it is."""
        return next((e for e in self.entries if e.trial.origin == "teacher"), None)

    @property
    def fitting(self) -> list[Entry]:
        """Finished trials that meet all that the study asks, most accurate first."""
        return self.under(self.budget_ms, self.min_accuracy, self.max_mb)

    def path(self, entry: Entry) -> Path:
        """The entry's model file."""
        return next(trial_folder(self.folder, entry.trial.number).glob("model.*"))

    def speed_up(self, entry: Entry) -> float | None:
        """How many times faster than the teacher, None where the teacher was not measured."""
        return self.teacher.latency.p50_ms / entry.latency.p50_ms if self.teacher else None

    def under(
        self, budget_ms: float | None, min_accuracy: float | None = None, max_mb: float | None = None
    ) -> list[Entry]:
        """Finished trials that meet every constraint, most accurate first. A latency meets its budget when the upper
        end of its interval does."""
        found = []
        for e in self.entries:
            assert e.trial.measurement is not None
            if budget_ms is not None and e.latency.at(self.percentile) > budget_ms:
                continue
            if min_accuracy is not None and e.accuracy < min_accuracy:
                continue
            if max_mb is not None and e.trial.measurement.size_bytes > max_mb * 1e6:
                continue
            found.append(e)
        return sorted(found, key=lambda e: (-e.accuracy, e.latency.p50_ms))

    def pick(
        self, budget_ms: float | None = None, min_accuracy: float | None = None, max_mb: float | None = None
    ) -> Picked:
        """The most accurate model under the constraints.

        Raises:
            BudgetError: none meets them; names the closest model, the constraint that binds, and what would do.
        """
        found = self.under(budget_ms, min_accuracy, max_mb)
        if not found:
            raise BudgetError(self.explain(budget_ms, min_accuracy, max_mb))
        return Picked(self, found[0])

    def explain(self, budget_ms: float | None, min_accuracy: float | None = None, max_mb: float | None = None) -> str:
        """Why no model meets the constraints: the closest one, what binds, and the nearest relaxations."""
        entries = self.entries
        if not entries:
            return "no model was finished yet: give the search more time"
        limits: list[tuple[str, float | None, Any, str]] = [
            (f"p{self.percentile} latency", budget_ms, lambda e: e.latency.at(self.percentile), "ms"),
            ("accuracy", min_accuracy, lambda e: e.accuracy, ""),
            ("size", max_mb, lambda e: e.trial.measurement.size_bytes / 1e6, "MB"),
        ]

        def excess(entry: Entry, skip: str = "") -> dict[str, float]:
            over = {}
            for name, limit, value, _ in limits:
                if limit is not None and name != skip:
                    got = value(entry)
                    gap = (limit - got if name == "accuracy" else got - limit) / max(abs(limit), 1e-12)
                    if gap > 0:
                        over[name] = gap
            return over

        closest = min(entries, key=lambda e: (max(excess(e).values(), default=0.0), -e.accuracy))
        binding = max(excess(closest).items(), key=lambda item: item[1])[0]
        ways = []
        for name, limit, value, unit in limits:
            free = [value(e) for e in entries if limit is not None and not excess(e, skip=name)]
            if free:
                need = max(free) if name == "accuracy" else min(free)
                ways.append(f"{name} {_short(need, name)}{' ' + unit if unit else ''}")
        met = f"; relaxing one would do: {', or '.join(ways)}" if ways else ""
        return (
            f"no model meets the constraints; closest is trial {closest.trial.number} "
            f"({closest.accuracy:.4f} accuracy, p50 {closest.latency.p50_ms:.3f} ms, upper end "
            f"{closest.latency.at(self.percentile):.3f} ms at p{self.percentile}), held back by its {binding}{met}"
        )

    def with_confirmed(self, confirmed: dict[int, Confirmed]) -> Front:
        """The same front with longer measurements."""
        return replace(self, confirmed={**self.confirmed, **confirmed})

    def to_pandas(self) -> pandas.DataFrame:
        """One row a trial, ended in whatever way; every axis a column."""
        from .frame import to_frame

        return to_frame(self)


@dataclass(frozen=True)
class Picked:
    """One model of a front."""

    front: Front
    entry: Entry

    @property
    def path(self) -> Path:
        """Its file in the study's folder."""
        return self.front.path(self.entry)

    def save(self, folder: str | Path) -> Path:
        """Copy the model with its card (`card.md`, `card.json`) into `folder`; returns the model's new path."""
        from .card import card_text, card_values
        from .files import disk_errors, write_bytes, write_json

        folder = Path(folder)
        target = folder / self.path.name
        with disk_errors(folder):
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self.path, target)
        values = card_values(self)
        write_json(folder / "card.json", values)
        write_bytes(folder / "card.md", card_text(values).encode())
        return target


def _short(value: float, name: str) -> str:
    # rounded towards what would still do
    return f"{value - 5e-5:.4f}" if name == "accuracy" else f"{value + 5e-4:.3f}"
