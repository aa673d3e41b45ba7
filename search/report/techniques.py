"""What each technique is worth on a network: a table of measured trials, beside the search at the same latency.

It is made from a study's folder alone. Each row is the best trial of one technique; what was never tried is named, with
the command that tries it.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import one_line
from ...files import read_object
from ...studies.metric import MetricLabel
from ..store.facts import read_facts
from ..store.settings import read_settings
from ..technique_kinds.facts import SpaceFacts
from ..technique_kinds.kind import TechniqueKind
from ..technique_kinds.quantization import INT8_AFTER, TEACHER
from ..technique_kinds.registry import TECHNIQUES
from ..technique_kinds.sequences import PRUNE_QUANTIZE, QUANTIZE_PRUNE, TUTORIALS
from ..techniques import Coverage, Training, Trainings, technique_of
from ..trial import Trial
from .by_hand import best_of
from .entry import Entry
from .front import Front
from .intervals import Interval, MetricIntervals, median_ms, speed_up

SEARCH, UNTRAINED = "joint search", Training()
BESIDE = (TUTORIALS, PRUNE_QUANTIZE, QUANTIZE_PRUNE, INT8_AFTER, TEACHER)
"""Where no limit says which model of the search is wanted, it is the one at the latency of the first of these."""


@dataclass(frozen=True)
class Against:
    """What the search has at the latency of a row, or below.

    Attributes:
        entry: Its best model there.
        metric: Of that model, on the split that both are compared on.
        difference: That metric minus the row's; above 0 the search is ahead, unless the metric is minimized.
        split: "test" where both models were scored on it, else "validation".
    """

    entry: Entry
    metric: Interval
    difference: Interval
    split: str


@dataclass(frozen=True)
class Row:
    """One technique.

    Attributes:
        name: Of the technique, or of the search.
        meaning: What it does, in one line.
        entry: Its best model under the study's limits; None where it was never tried.
        metric: On the validation split, in its own units.
        test: On the test split, None where the model was not confirmed.
        p50_ms: Median latency.
        speed_up: Times as fast as the teacher, by their measured ratio.
        size_bytes: Of its largest file.
        training: What its training took, with that of the models whose weights it began with.
        epochs: Passes over the training data, in all of these; None where the study did not keep it.
        tried: Number of models of this technique that were measured.
        spent_s: Seconds that all trials of this technique took, with those that did not finish.
        against: The search at this latency, None where it has nothing as fast.
        note: What is to be said besides.
    """

    name: str
    meaning: str = ""
    entry: Entry | None = None
    metric: Interval | None = None
    test: Interval | None = None
    p50_ms: Interval | None = None
    speed_up: Interval | None = None
    size_bytes: int | None = None
    training: Training = UNTRAINED
    epochs: float | None = None
    tried: int = 0
    spent_s: float = 0.0
    against: Against | None = None
    note: str = ""


@dataclass(frozen=True)
class TechniqueTable:
    """What each technique is worth on one network.

    Attributes:
        rows: One for each technique, in a fixed order, then the search.
        missing: Names of the techniques that were never tried here and can be.
        command: Tries them; empty where nothing is missing.
        metric: How the metric is shown.
    """

    rows: tuple[Row, ...]
    missing: tuple[str, ...]
    command: str
    metric: MetricLabel


def techniques(front: Front) -> TechniqueTable:
    """Return the table of a study.

    Args:
        front: The study's front. Its folder is read too.

    Raises:
        StorageError: A file of the folder cannot be read.
    """
    table = _Table(front)
    rows = [table.row(kind) for kind in TECHNIQUES]
    found = {row.name: row for row in rows}
    missing = tuple(row.name for row in rows if row.entry is None and not row.note)
    return TechniqueTable(
        (*rows, table.search_row([found[kind.name] for kind in BESIDE])),
        missing,
        command(front) if missing else "",
        front.limits.metric,
    )


def command(front: Front) -> str:
    """Return what a user types so that the missing techniques are tried."""
    settings = read_settings(front.folder)
    near = os.path.relpath(front.folder)
    path = front.folder if near.startswith(".") else Path(near)
    if settings.task.source is None and settings.teacher.model is None:
        return f'autocompress.compress(task, runs={json.dumps(str(path.parent))}, search={{"baselines": ("all",)}})'
    return f"autocompress search {shlex.quote(str(path))} --baselines all"


def no_slower(entry: Entry, than: Entry) -> bool:
    """Tell whether one model is at most as slow as another: its ratio lies within the other's interval, or below.

    Milliseconds do not tell: what is not known of the calibration is in both models' intervals. They are compared only
    where the two models are for different targets.
    """
    pairs = [(latency, than.reported[name]) for name, latency in entry.reported.items() if name in than.reported]
    if not pairs:
        return entry.reported_latency.p50_ms <= than.reported_latency.p50_ms
    return all(a.ratio <= b.ratio_high for a, b in pairs)


class _Table:
    """Makes the rows of one study."""

    def __init__(self, front: Front) -> None:
        self._front, self._intervals = front, MetricIntervals.of(front.folder)
        recovery = read_settings(front.folder).recovery
        self._epochs = read_facts(front.folder).epochs or recovery.epochs
        self._facts = SpaceFacts.read(read_object(front.folder / "space.json") or {}, bool(recovery.ramp))
        self._trainings, coverage = Trainings(front.trials), Coverage.of(front.trials, self._facts)
        self._ended: dict[TechniqueKind | None, list[Trial]] = {}
        for trial in front.trials:
            self._ended.setdefault(technique_of(trial, coverage), []).append(trial)
        self._entries = {entry.number: entry for entry in front.entries}
        self._searched = [entry for entry in front.entries if not entry.trial.by_hand]

    def row(self, kind: TechniqueKind) -> Row:
        ended = self._ended.get(kind, [])
        tried = [self._entries[trial.number] for trial in ended if trial.number in self._entries]
        if kind is TEACHER and self._front.teacher is not None:
            tried = [self._front.teacher]
        if not tried:
            return Row(kind.name, kind.meaning, note=kind.why_not(self._facts) or _why_none(ended))
        best = best_of(self._front, tried)
        spent_s = self._trainings.seconds_behind(ended)
        return self._filled(kind.name, kind.meaning, best, len(tried), spent_s, self._against(best))

    def search_row(self, sequences: Sequence[Row]) -> Row:
        """Return the row of the search: its best model under the limits, else the one beside the first of `sequences`.

        Args:
            sequences: Rows to stand beside where no limit says which model is wanted.
        """
        axes = " and ".join(", ".join(self._facts.options).rsplit(", ", 1))
        meaning = f"{axes or 'all that the study decides'}, decided together"
        searched = {entry.number for entry in self._searched}
        fitting = [entry for entry in self._front.fitting if entry.number in searched]
        beside = next((row for row in sequences if row.against is not None), None)
        note = ""
        if self._front.limits.any and self._searched:
            best = fitting[0] if fitting else best_of(self._front, self._searched)
            note = "the best under the limits" if fitting else "the closest to the limits; none meets them"
        elif beside is not None and beside.against is not None:
            best, note = beside.against.entry, f"what it has at the latency of {beside.name}"
        else:
            return Row(SEARCH, meaning, note="" if self._searched else "no model was finished yet")
        spent_s = self._trainings.seconds_behind(t for t in self._front.trials if not t.by_hand)
        return replace(self._filled(SEARCH, meaning, best, len(self._searched), spent_s, None), note=note)

    def _filled(
        self, name: str, meaning: str, entry: Entry, tried: int, spent_s: float, against: Against | None
    ) -> Row:
        training = self._trainings.of(entry.trial)
        return Row(
            name,
            meaning,
            entry,
            self._intervals.around(entry.quality, "validation", entry.quality_sd),
            None if entry.test_quality is None else self._intervals.around(entry.test_quality, "test"),
            median_ms(entry.reported_latency),
            speed_up(entry.reported_latency),
            entry.size_bytes,
            training,
            None if self._epochs is None else self._epochs * training.times,
            tried,
            spent_s,
            against,
        )

    def _against(self, entry: Entry) -> Against | None:
        """Return the most accurate model of the search that is no slower than `entry`, of those confirmed if any is."""
        others = [e for e in self._searched if e.number != entry.number and no_slower(e, entry)]
        if not others:
            return None
        # a single quick look at many models makes some of them look faster than they are
        confirmed = [e for e in others if e.confirmed is not None]
        best = max(confirmed or others, key=lambda e: (e.quality, -e.reported_latency.p50_ms))
        if best.test_quality is not None and entry.test_quality is not None:
            return self._compared(best, (best.test_quality, entry.test_quality), (None, None), "test")
        return self._compared(best, (best.quality, entry.quality), (best.quality_sd, entry.quality_sd), "validation")

    def _compared(
        self, best: Entry, values: tuple[float, float], sds: tuple[float | None, float | None], split: str
    ) -> Against:
        around = self._intervals.around(values[0], split, sds[0])
        return Against(best, around, self._intervals.difference(*values, split, sds), split)


def _why_none(ended: Sequence[Trial]) -> str:
    """Return why none of the trials of a technique is a model, empty where there was no trial."""
    if not ended:
        return ""
    last = ended[-1]
    return f"trial {last.number} {last.state}" + (f": {one_line(last.reason)}" if last.reason else "")
