"""Every trial in columns, as the script of a report reads them: numbers only where there are any."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ....evaluators.measurement import Latency
from ....spaces.tables import EMBEDDING
from ...trial import Trial
from ..entry import Entry
from ..intervals import Z95, speed_up
from .answer import SHIPPED, pick_command
from .record import Record
from .wording import PlanWords, short

GATES = {"lstm": 4, "gru": 3}
"""Kind of recurrent layer -> weights of one channel that stand below each other."""


def study_values(record: Record) -> dict[str, Any]:
    """Return what is the same for all trials of a study."""
    limits, space = record.front.limits, record.space
    places = {layer["name"]: i for i, layer in enumerate(space.get("layers", []))}
    return {
        "name": record.name,
        "metric": {"name": record.metric.name, "maximized": record.metric.maximized},
        "standardErrors": Z95,  # from a metric to the ends of its interval
        "targets": list(record.front.targets),
        "anyOf": record.front.any_of,
        "percentile": limits.percentile,
        "budgets": {name: short(ms) for name, ms in limits.budgets.items()},
        "leastMetric": None if limits.min_accuracy is None else record.metric.shown(limits.min_accuracy),
        "mostMb": short(limits.max_mb),
        "command": pick_command(record, 0).removesuffix(f"0{SHIPPED}"),  # the script puts a number behind it
        "variables": [
            {
                "name": v["name"],
                "axis": v["axis"],
                "first": v["options"][0],
                "options": v["options"],
                **({"names": v["names"]} if v.get("names") else {}),
                "number": bool(v["range"]),
                "layers": [places[name] for name in v["layers"] if name in places],
            }
            for v in space.get("variables", [])
        ],
        "layers": [
            {
                "name": layer["name"],
                "kind": layer["kind"],
                "shape": layer["weight"],
                "outputs": _outputs(layer),
                "group": layer["group"],
                **({"network": layer["network"]} if "network" in layer else {}),
            }
            for layer in space.get("layers", [])
        ],
        "groups": [{"name": group["name"], "channels": group["channels"]} for group in space.get("groups", [])],
    }


def _outputs(layer: Mapping[str, Any]) -> int:
    """Return how many channels a layer writes: an embedding as many as its rows have, a recurrent layer one gate's."""
    shape: list[int] = layer["weight"]
    return shape[1] if layer["kind"] == EMBEDDING else shape[0] // GATES.get(layer["kind"], 1)


def trial_columns(record: Record) -> dict[str, list[Any]]:
    """Return the columns of all trials of a study, by number.

    `poor` tells whether a metric misses the study's own limit: one against the teacher is held against the figure, one
    on the metric itself against the worse end of the interval.
    """
    front = record.front
    rows = [_Row(record, trial) for trial in sorted(front.trials, key=lambda t: t.number)]
    on_front, fits = {e.number for e in front.best}, {e.number for e in front.fitting}
    words = PlanWords(record.space)
    names = {v["name"]: i for i, v in enumerate(record.space.get("variables", []))}
    columns: dict[str, Callable[[_Row], Any]] = {
        "number": lambda r: r.trial.number,
        "label": lambda r: r.trial.label,
        "origin": lambda r: str(r.trial.origin),
        "state": lambda r: "left out" if r.left_out else str(r.trial.state),
        "reason": lambda r: r.left_out or r.trial.reason,
        "front": lambda r: int(r.trial.number in on_front),
        "hand": lambda r: int(r.trial.by_hand),
        "fits": lambda r: int(r.trial.number in fits),
        "metric": lambda r: None if r.entry is None else short(r.entry.accuracy, 7),
        "metricLow": lambda r: r.metric_end(0),
        "metricHigh": lambda r: r.metric_end(1),
        "poor": lambda r: int(r.entry is not None and front.limits.is_poor(r.entry.quality, front.least(r.entry))),
        "test": lambda r: None if r.entry is None else short(r.entry.test_accuracy, 7),
        "speedUp": lambda r: None if r.entry is None else short(speed_up(r.entry.reported_latency).value, 4),
        "bytes": lambda r: None if r.entry is None else r.entry.size_bytes,
        "zstd": lambda r: None if r.entry is None else r.entry.compressed_bytes,
        "gateMs": lambda r: short(next((latency.p50_ms for latency in r.trial.gate.values()), None)),
        "disturbed": lambda r: int(r.entry is not None and r.entry.disturbed),
        "plan": lambda r: "; ".join(words.of(r.trial)),
        "choices": lambda r: {str(names.get(n, n)): option for n, option in r.trial.plan.choices.items()},
    }
    return {name: [value(row) for row in rows] for name, value in columns.items()}


def latency_columns(record: Record) -> dict[str, dict[str, list[Any]]]:
    """Return, for each target, the columns of what was measured there, by trial number.

    `held` is what a budget is held against, in the budget's milliseconds: for a budget that is a part of the teacher's
    latency, it follows from the measured ratio. `held` and `chosenBy`, a median, are what models are chosen by; the
    rest is what is reported of a model, which after the choice is another measurement.
    """
    trials = sorted(record.front.trials, key=lambda t: t.number)
    entries = [_Row(record, trial).entry for trial in trials]
    columns: Mapping[str, Callable[[Latency], float | None]] = {
        "p50": lambda at: at.p50_ms,
        "low": lambda at: at.low_ms,
        "high": lambda at: at.high_ms,
        "ratio": lambda at: at.ratio,
        "ratioLow": lambda at: at.ratio_low,
        "ratioHigh": lambda at: at.ratio_high,
        "memory": lambda at: at.peak_memory_mb,
        "energy": lambda at: at.energy_mj,
    }
    found: dict[str, dict[str, list[Any]]] = {}
    for name in record.front.targets:
        latencies = [None if entry is None else entry.reported.get(name) for entry in entries]
        found[name] = {
            column: [None if at is None else short(value(at)) for at in latencies] for column, value in columns.items()
        }
        chosen_by = [None if entry is None else entry.latencies.get(name) for entry in entries]
        found[name]["chosenBy"] = [None if at is None else short(at.p50_ms) for at in chosen_by]
        found[name]["held"] = [_held(record, name, entry) for entry in entries]
    return found


def _held(record: Record, target: str, entry: Entry | None) -> float | None:
    if entry is None or target not in entry.latencies:
        return None
    return short(record.front.limits.held_ms(target, entry.latencies[target])[2], 7)


class _Row:
    """A trial, with its figures where it was finished and they are those of its file and of this machine."""

    def __init__(self, record: Record, trial: Trial) -> None:
        self.trial = trial
        looked = record.front.confirmed.get(trial.number)
        self.left_out = record.front.changed.get(trial.number, "")
        self.entry = Entry(trial, looked, record.metric) if trial.finished and not self.left_out else None
        self._interval = (
            None if self.entry is None else record.metric_interval(self.entry.quality, sd=self.entry.quality_sd)
        )

    def metric_end(self, which: int) -> float | int | None:
        """Return an end of the metric's interval."""
        return None if self._interval is None else short(self._interval[which])


def joined(parts: Sequence[dict[str, list[Any]]]) -> dict[str, list[Any]]:
    """Return columns of several studies one below the other, with the number of the study in column `study`."""
    names = dict.fromkeys(name for part in parts for name in part)
    length = [len(part["number"]) for part in parts]
    found = {
        name: [v for part, n in zip(parts, length, strict=True) for v in part.get(name, [None] * n)] for name in names
    }
    return {"study": [i for i, n in enumerate(length) for _ in range(n)], **found}
