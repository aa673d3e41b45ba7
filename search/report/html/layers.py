"""The fourth section of a report: what each decision of a model is about, and why it was taken."""

from __future__ import annotations

from typing import Any

from ...trial import Trial
from ..lost_layers import lost_layers
from .record import Record
from .wording import short

MOST_NUMBERS = 150_000
"""Predicted latencies of layers that a report holds at most; with more, only those of models that matter."""


def layer_data(record: Record, notable: frozenset[int]) -> dict[str, Any]:
    """Return what the script draws of layers.

    Each layer's share of the latency is what the runtime's own profile says where there is one, else a prediction; see
    `LatencyModel.layer_ms`.

    Args:
        record: The study.
        notable: Trials whose figures are there in any case: the front, what was made by hand, what was chosen.
    """
    numbers = {t.number: t for t in record.front.trials if t.finished}
    layers = len(record.space.get("layers", []))
    kept = numbers if layers * len(numbers) <= MOST_NUMBERS else numbers.keys() & notable
    wanted = {"0", *map(str, kept)}
    return {
        "ms": {
            name: {number: values for number, values in trials.items() if number in wanted}
            for name, trials in record.predictions.layer_ms.items()
        },
        "measured": _measured(record),
        "teacher": None if record.front.teacher is None else record.front.teacher.number,
        "error": {name: short(error, 3) for name, error in record.predictions.relative_error.items()},
        "students": {str(number): trial.spec.student for number, trial in numbers.items() if trial.spec.student},
        "lost": _lost(record, numbers),
        "channels": _channels(record, numbers),
        "bits": _bits(record, numbers),
        "sensitivity": _sensitivity(record),
    }


def _measured(record: Record) -> dict[str, dict[str, dict[str, Any]]]:
    """Return, by target and trial, each layer's share, operators of several layers, and what belongs to none."""
    places = {layer["name"]: i for i, layer in enumerate(record.space.get("layers", []))}
    return {
        name: {
            str(number): {
                "layers": [short(found.layers.get(layer), 3) for layer in places],
                "together": [
                    [[places[layer] for layer in part.layers if layer in places], short(part.share, 3)]
                    for part in found.together
                ],
                "other": [[operator, short(share, 3)] for operator, share in found.other.items()],
                "named": short(found.named, 4),
            }
            for number, found in trials.items()
        }
        for name, trials in record.shares.items()
    }


def _lost(record: Record, trials: dict[int, Trial]) -> dict[str, list[int]]:
    """Return, by trial, the places of the layers that went with dropped blocks; trials that have all are left out."""
    places = {layer["name"]: i for i, layer in enumerate(record.space.get("layers", []))}
    found = {str(number): lost_layers(record.space, trial.spec) for number, trial in trials.items()}
    return {number: sorted(places[name] for name in lost if name in places) for number, lost in found.items() if lost}


def _channels(record: Record, trials: dict[int, Trial]) -> dict[str, dict[str, int]]:
    """Return, by trial, the place of each group that shrinks, with the channels it keeps."""
    places = {group["name"]: str(i) for i, group in enumerate(record.space.get("groups", []))}
    return {
        str(number): {places[name]: count for name, count in trial.spec.channels.items() if name in places}
        for number, trial in trials.items()
    }


def _bits(record: Record, trials: dict[int, Trial]) -> dict[str, dict[str, int | str]]:
    """Return, by trial, the place of each layer below 32 bits with its bits; with a z before the place, its zeros."""
    places = {layer["name"]: i for i, layer in enumerate(record.space.get("layers", []))}
    found: dict[str, dict[str, int | str]] = {}
    for number, trial in trials.items():
        bits = {str(places[name]): width for name, width in trial.spec.bits.items() if name in places}
        zeros = {f"z{places[n]}": f"{p.kind} {p.rate:.0%}" for n, p in trial.spec.patterns.items() if n in places}
        found[str(number)] = {**bits, **zeros}
    return found


def _sensitivity(record: Record) -> dict[str, list[float | int | None]]:
    """Return, by the variable's place, what each of its options alone does to the teacher's answers (nats)."""
    places = {v["name"]: i for i, v in enumerate(record.space.get("variables", []))}
    known = record.predictions.sensitivity
    return {str(places[name]): [short(nats, 3) for nats in row] for name, row in known.items() if name in places}
