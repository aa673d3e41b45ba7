"""The front: the trials no other trial beats, and what a user does with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import BudgetError
from ...evaluators.measurement import Latency
from ..objectives import is_latency, worth
from ..pareto import non_dominated
from ..store.files import trial_folder
from ..trial import Trial

if TYPE_CHECKING:
    import pandas


@dataclass(frozen=True)
class Confirmed:
    """A second, longer look at a trial's files: latency, interleaved with the others', and accuracy on the test
    split. elsewhere: latency on further targets; the accuracy is then the lowest of all files'."""

    latency: Latency
    test_accuracy: float
    elsewhere: Mapping[str, Latency] = field(default_factory=dict)


@dataclass(frozen=True)
class Entry:
    """One finished trial with its best figures."""

    trial: Trial
    confirmed: Confirmed | None

    @property
    def accuracy(self) -> float:
        """On the validation split, of the file; of several files, the lowest."""
        assert self.trial.measurement is not None
        return worth("accuracy", self.trial.measurement)

    @property
    def latency(self) -> Latency:
        """The longer measurement where there is one."""
        assert self.trial.measurement is not None
        return self.confirmed.latency if self.confirmed else self.trial.measurement.latency

    @property
    def elsewhere(self) -> Mapping[str, Latency]:
        """The same for further targets, by name."""
        assert self.trial.measurement is not None
        if self.confirmed and self.confirmed.elsewhere:
            return self.confirmed.elsewhere
        return {name: file.latency for name, file in self.trial.measurement.elsewhere.items()}

    @property
    def disturbed(self) -> bool:
        """Whether other work ran while one of its latencies was measured."""
        return any(latency.disturbed for latency in (self.latency, *self.elsewhere.values()))

    def objective(self, name: str) -> float:
        """One objective's value, lower is better."""
        assert self.trial.measurement is not None
        if is_latency(name):
            other = name.partition("@")[2]
            return (self.elsewhere[other] if other else self.latency).p50_ms
        value = worth(name, self.trial.measurement)
        return -value if name == "accuracy" else value


@dataclass(frozen=True)
class Front:
    """All finished trials of a study, and among them those that no other beats.

    folder: of the study. percentile, budget_ms, min_accuracy, max_mb: what the study asks of a model. targets: names,
    the first one first. any_of: each model is for one of them. budgets: latency (ms) asked for on single targets, by
    name, where that is not budget_ms.
    """

    folder: Path
    objectives: tuple[str, ...]
    trials: tuple[Trial, ...]
    confirmed: dict[int, Confirmed]
    percentile: int = 50
    budget_ms: float | None = None
    min_accuracy: float | None = None
    max_mb: float | None = None
    targets: tuple[str, ...] = ("onnxruntime",)
    any_of: bool = False
    budgets: Mapping[str, float] = field(default_factory=dict)

    @property
    def limits_latency(self) -> bool:
        """Whether the study has a budget on any target."""
        return self.budget_ms is not None or bool(self.budgets)

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

    def home(self, entry: Entry) -> str:
        """The target that the entry's own latency is for: the first, or the one its plan chose."""
        return entry.trial.plan.target or self.targets[0]

    def path(self, entry: Entry, target: str | None = None) -> Path:
        """The entry's model file; `target`: one of the further targets' instead."""
        folder = trial_folder(self.folder, entry.trial.number)
        return next((folder / target if target and target != self.home(entry) else folder).glob("model.*"))

    def speed_up(self, entry: Entry) -> float | None:
        """How many times faster than the teacher on the first target, None where that was not measured."""
        return self.teacher.latency.p50_ms / entry.latency.p50_ms if self.teacher else None

    def under(
        self, budget_ms: float | None, min_accuracy: float | None = None, max_mb: float | None = None
    ) -> list[Entry]:
        """Finished trials that meet every constraint, most accurate first. A latency meets its budget when the upper
        end of its interval does; budget_ms holds for targets without a budget of their own."""
        found = []
        for e in self.entries:
            if any(over > 1 for over in self._shares(e, budget_ms)):
                continue
            if min_accuracy is not None and e.accuracy < min_accuracy:
                continue
            if max_mb is not None and e.objective("size_bytes") > max_mb * 1e6:
                continue
            found.append(e)
        return sorted(found, key=lambda e: (-e.accuracy, e.latency.p50_ms))

    def _shares(self, entry: Entry, budget_ms: float | None) -> list[float]:
        """Latency over limit, for each target of the entry that has one."""
        found = {self.home(entry): entry.latency, **entry.elsewhere}
        limits = {name: self.budgets.get(name, budget_ms) for name in found}
        return [found[name].at(self.percentile) / limit for name, limit in limits.items() if limit is not None]

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
            self._latency_limit(budget_ms),
            ("accuracy", min_accuracy, lambda e: e.accuracy, ""),
            ("size", max_mb, lambda e: e.objective("size_bytes") / 1e6, "MB"),
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

    def _latency_limit(self, budget_ms: float | None) -> tuple[str, float | None, Any, str]:
        """What `explain` says of latency: its name, the limit, the value of an entry, the unit. Of several targets it
        is the one that is furthest over its own limit, in proportion."""
        name = f"p{self.percentile} latency"
        if budget_ms is None and self.budgets:
            return name, 1.0, lambda e: max(self._shares(e, None), default=0.0), "times the budget of its target"
        limit = budget_ms or 1.0
        return name, budget_ms, lambda e: max(self._shares(e, limit), default=0.0) * limit, "ms"

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
        """Copy the model with its card (`card.md`, `card.json`) into `folder`, and its files for further targets into
        folders named after those; returns the model's new path."""
        from ..store.files import copy, write_bytes, write_json
        from .card import card_text, card_values

        folder = Path(folder)
        target = folder / self.path.name
        copy(self.path, target)
        for name in self.entry.elsewhere:
            source = self.front.path(self.entry, name)
            copy(source, folder / name / source.name)
        values = card_values(self)
        write_json(folder / "card.json", values)
        write_bytes(folder / "card.md", card_text(values).encode())
        return target


def _short(value: float, name: str) -> str:
    # rounded towards what would still do
    return f"{value - 5e-5:.4f}" if name == "accuracy" else f"{value + 5e-4:.3f}"
