"""A finished trial with its best figures, as reports show it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from functools import cached_property

from ...evaluators.measurement import Latency
from ...spaces.target import PerTarget
from ...studies.metric import ACCURACY, MetricLabel
from ..objectives import is_latency, is_maximized, latency_of, objective_value
from ..trial import Trial


@dataclass(frozen=True)
class Confirmed:
    """A second, longer look at a trial's files.

    Attributes:
        latencies: Interleaved with those of the other files of the front.
        test_accuracy: Metric on the test split as a search keeps it, the lowest of all files'; None where it is not
            defined there.
        anew: A measurement after the choice, which had no say in it; empty of models that were not chosen.
        tests: The metric on the test split of each file, as `test_accuracy` has the lowest; empty where that alone is
            known.
    """

    latencies: PerTarget[Latency]
    test_accuracy: float | None
    anew: PerTarget[Latency] = field(default_factory=dict)
    tests: PerTarget[float | None] = field(default_factory=dict)

    def on(self, targets: Collection[str]) -> Confirmed:
        """Return the look at the files for some targets alone."""
        tests = {name: score for name, score in self.tests.items() if name in targets}
        return Confirmed(
            {name: latency for name, latency in self.latencies.items() if name in targets},
            lowest(tests.values()) if tests else self.test_accuracy,
            {name: latency for name, latency in self.anew.items() if name in targets},
            tests,
        )


def lowest(scores: Collection[float | None]) -> float | None:
    """Return the lowest of some metrics; None where one of them is not defined."""
    defined = [score for score in scores if score is not None]
    return min(defined, default=None) if len(defined) == len(scores) else None


@dataclass(frozen=True)
class Entry:
    """One finished trial.

    Attributes:
        trial: The trial.
        confirmed: The longer look, where there was one.
        metric: How the metric is shown.
    """

    trial: Trial
    confirmed: Confirmed | None
    metric: MetricLabel = ACCURACY

    def on(self, targets: Collection[str]) -> Entry:
        """Return the model with its files for some targets alone: all figures are of these.

        Args:
            targets: Names of targets. A model that has files for none of them is returned as it is.
        """
        measured = {name: file for name, file in self.trial.measured.items() if name in targets}
        if not measured:
            return self
        looked = None if self.confirmed is None else self.confirmed.on(measured)
        return replace(self, trial=replace(self.trial, measured=measured), confirmed=looked)

    @property
    def number(self) -> int:
        """The trial's number."""
        return self.trial.number

    @cached_property
    def quality(self) -> float:
        """The metric of the file on the validation split as a search keeps it; of several files, the lowest."""
        return objective_value("accuracy", self.trial.measured)

    @property
    def quality_sd(self) -> float | None:
        """The standard error of `quality`, where resampling told it."""
        return min(self.trial.measured.values(), key=lambda file: file.accuracy).accuracy_sd

    @property
    def accuracy(self) -> float:
        """The metric of the file on the validation split, in its own units; of several files, the worst."""
        return self.metric.shown(self.quality)

    @property
    def test_quality(self) -> float | None:
        """The metric on the test split as a search keeps it; None where it was not scored, or is not defined."""
        return None if self.confirmed is None else self.confirmed.test_accuracy

    @property
    def test_accuracy(self) -> float | None:
        """The same in its own units."""
        return None if self.test_quality is None else self.metric.shown(self.test_quality)

    @property
    def metric_text(self) -> str:
        """The metric on the validation split, as it is printed."""
        return self.metric.text(self.quality)

    @property
    def test_text(self) -> str:
        """The metric on the test split, as it is printed; empty where there is none."""
        return "" if self.test_quality is None else self.metric.text(self.test_quality)

    @cached_property
    def latencies(self) -> PerTarget[Latency]:
        """The latency of each file: the longer measurement where there is one."""
        measured = {name: file.latency for name, file in self.trial.measured.items()}
        return {**measured, **(self.confirmed.latencies if self.confirmed else {})}

    @property
    def target(self) -> str:
        """The target that tables are sorted by: the one the plan chose, or the first that files are built for."""
        return next(iter(self.trial.measured))

    @property
    def latency(self) -> Latency:
        """The latency on `target` by which the model is chosen or not; see `reported`."""
        return self.latencies[self.target]

    @cached_property
    def reported(self) -> PerTarget[Latency]:
        """The latency of each file that is reported of a model once it was chosen.

        A model is chosen because it was measured fast, so that measurement flatters it: where it was measured anew
        after the choice, that counts.
        """
        return {**self.latencies, **(self.confirmed.anew if self.confirmed else {})}

    @property
    def reported_latency(self) -> Latency:
        """The latency on `target` that is reported."""
        return self.reported[self.target]

    @property
    def size_bytes(self) -> int:
        """The size of the largest file."""
        return max(file.size_bytes for file in self.trial.measured.values())

    @property
    def compressed_bytes(self) -> int:
        """The size of the largest file after compression."""
        return max(file.compressed_bytes for file in self.trial.measured.values())

    @property
    def disturbed(self) -> bool:
        """Whether other work ran while one of its reported latencies was measured."""
        return any(latency.disturbed for latency in self.reported.values())

    def cost(self, objective: str) -> float:
        """Return the value of one objective, lower is better."""
        if is_latency(objective):
            return latency_of(objective, self.latencies).p50_ms
        value = objective_value(objective, self.trial.measured)
        return -value if is_maximized(objective) else value
