"""What a study's folder says of it, gathered for a report, and how sure its figures are."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

from ....evaluators.latency import is_faster
from ....evaluators.layer_shares import LayerShares
from ....files import read_object
from ....spaces.target import PerTarget
from ....studies.metric import MetricLabel
from ....studies.study_file import StudyFile
from ...store.facts import TaskFacts, read_facts
from ...store.layout import calibration_path
from ...store.settings import read_settings
from ..entry import Entry
from ..front import Front
from ..intervals import MetricIntervals, split_counts
from ..profiles import read_shares
from ..reading import read_front
from .predictions import Predictions, read_predictions


@dataclass(frozen=True)
class Record:
    """A study as its folder has it.

    Attributes:
        front: Its trials and its front.
        settings: What it was searched with last.
        facts: What is known of its task.
        space: Layers, groups and variables, as `autocompress space --json` gives them; empty where none were kept.
        identity: What it knows its data and its teacher by.
        calibrations: The teacher's own time on each target, with the machine's conditions.
        predictions: What was predicted.
        shares: What runtimes said themselves of layers, by target and trial number; a target whose runtime makes no
            profiles is left out, and so are all in studies of older versions.
    """

    front: Front
    settings: StudyFile
    facts: TaskFacts
    space: Mapping[str, Any] = field(default_factory=dict)
    identity: Mapping[str, str] = field(default_factory=dict)
    calibrations: PerTarget[Mapping[str, Any]] = field(default_factory=dict)
    predictions: Predictions = field(default_factory=Predictions)
    shares: PerTarget[Mapping[int, LayerShares]] = field(default_factory=dict)

    @property
    def metric(self) -> MetricLabel:
        """How the metric is shown."""
        return self.front.limits.metric

    @property
    def name(self) -> str:
        """The name of the study's folder, which tells apart the studies of one task."""
        return self.front.folder.resolve().name

    @cached_property
    def intervals(self) -> MetricIntervals:
        """How sure the metric is."""
        return MetricIntervals.of_share(self.facts, self.examples)

    @cached_property
    def examples(self) -> dict[str, int]:
        """The number of examples of each split, where it was kept."""
        return split_counts(self.identity)

    @property
    def knows_noise(self) -> bool:
        """Whether the metric has intervals."""
        return bool(self.intervals.sizes) or any(entry.quality_sd is not None for entry in self.front.entries)

    def metric_interval(
        self, quality: float, split: str = "validation", sd: float | None = None
    ) -> tuple[float, float] | None:
        """Return the 95 % interval of a metric, lower end first.

        Args:
            quality: The metric as a search keeps it.
            split: That it was computed on.
            sd: Its standard error, where resampling told it.

        Returns:
            Its ends in the metric's own units; None where none is known.
        """
        return self.intervals.around(quality, split, sd).ends

    def metric_verdict(self, a: Entry, b: Entry) -> Literal["better", "worse", "tie"]:
        """Return how the metric of `a` compares with that of `b`: a tie within the noise of both."""
        return metric_verdict(self, a, self, b)

    def latency_verdict(self, a: Entry, b: Entry) -> Literal["faster", "slower", "tie"]:
        """Return how `a` compares with `b` on the targets that both have: a tie unless it is one thing on all.

        Ratios are to the teacher's file for the same target: models for different ones are compared in milliseconds.
        """
        found = {is_faster(a.reported[name], b.reported[name]) for name in a.reported if name in b.reported}
        if not found:
            one, other = a.reported_latency, b.reported_latency
            return "faster" if one.high_ms < other.low_ms else "slower" if one.low_ms > other.high_ms else "tie"
        return found.pop() if len(found) == 1 else "tie"


def metric_verdict(of_a: Record, a: Entry, of_b: Record, b: Entry) -> Literal["better", "worse", "tie"]:
    """Return how the metric of `a` compares with that of `b`: a tie within the noise of both.

    Args:
        of_a: The study of `a`.
        a: A model.
        of_b: The study of `b`.
        b: Another model.
    """
    gap, noise = a.quality - b.quality, 0.0
    for record, entry in ((of_a, a), (of_b, b)):
        interval = record.metric_interval(entry.quality, sd=entry.quality_sd)
        if interval is not None:
            noise = math.hypot(noise, (interval[1] - interval[0]) / 2)
    if abs(gap) <= noise:
        return "tie"
    return "better" if gap > 0 else "worse"


def read_record(folder: Path) -> Record:
    """Return what a study's folder says.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: A file cannot be read, or another version wrote it.
    """
    return record_of(read_front(folder))


def record_of(front: Front) -> Record:
    """Return what the folder of a front says beside its trials.

    Raises:
        StorageError: A file cannot be read.
    """
    folder = front.folder
    found = {name: read_object(calibration_path(folder, name)) for name in front.targets}
    return Record(
        front=front,
        settings=read_settings(folder),
        facts=read_facts(folder),
        space=read_object(folder / "space.json") or {},
        identity=read_object(folder / "identity.json") or {},
        calibrations={name: calibration for name, calibration in found.items() if calibration},
        predictions=read_predictions(folder),
        shares=read_shares(folder),
    )
