"""The metric of a task: what a model is judged by."""

from __future__ import annotations

import decimal
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ..errors import MetricError, one_line

MetricFunction = Callable[[Tensor, Tensor], float]
"""Outputs [N, ...] and labels [N, ...] of a whole split to a number."""
Direction = Literal["maximize", "minimize"]


@dataclass(frozen=True)
class MetricLabel:
    """How a metric is shown.

    Inside a search higher is always better: a metric that is minimized is kept with a minus sign, and turned back where
    it is shown.

    Attributes:
        name: Of the metric, such as "accuracy" or "perplexity".
        direction: Whether larger values are better.
    """

    name: str = "accuracy"
    direction: Direction = "maximize"

    @property
    def maximized(self) -> bool:
        """Whether larger values are better."""
        return self.direction == "maximize"

    def shown(self, quality: float) -> float:
        """Return the metric's own value of what a search keeps."""
        return quality if self.maximized else -quality

    def text(self, quality: float) -> str:
        """Return the metric's own value of what a search keeps, as it is printed."""
        value = self.shown(quality)
        return f"{value:.{_digits(value)}f}"

    def lenient(self, quality: float) -> str:
        """Return the same, rounded to what is easier to reach: a limit at it is met by what was kept."""
        value = self.shown(quality)
        return rounded(value, _digits(value), up=not self.maximized)

    @property
    def key(self) -> str:
        """The name of columns and keys that hold the metric: "accuracy" of all that are maximized."""
        return "accuracy" if self.maximized else self.name

    def kept(self, value: float) -> float:
        """Return what a search keeps of the metric's own value: higher is better."""
        return value if self.maximized else -value


def rounded(value: float, digits: int, up: bool) -> str:
    """Return a number with so many digits behind the point, never below the number (`up`), or never above it.

    Args:
        value: Finite.
        digits: Behind the point.
        up: Whether the text stands for at least the number, or for at most the number.
    """
    nearest = f"{value:.{digits}f}"
    if float(nearest) >= value if up else float(nearest) <= value:
        return nearest
    step = decimal.Decimal(1).scaleb(-digits)
    return f"{decimal.Decimal(nearest) + (step if up else -step):f}"


def _digits(value: float) -> int:
    """Return the digits behind the point: four, fewer of large numbers, and more of small ones."""
    if abs(value) >= 10:
        return 2
    return 4 if value == 0 or abs(value) >= 0.01 else min(12, 3 - math.floor(math.log10(abs(value))))


ACCURACY = MetricLabel()
"""How the accuracy of a classifier is shown."""


@dataclass(frozen=True)
class Metric:
    """What a model is judged by.

    Attributes:
        function: Maps the outputs and the labels of a split to a number.
        label: Its name and direction.
    """

    function: MetricFunction
    label: MetricLabel = ACCURACY

    def value(self, outputs: Tensor, labels: Tensor) -> float:
        """Return the metric's own value.

        Args:
            outputs: Of a model, [N, ...].
            labels: [N, ...].

        Raises:
            MetricError: It raises, or gives something else than a finite number.
        """
        name = self.label.name
        version = _version(outputs)
        try:
            value = self.function(outputs, labels.clone())  # theirs to change: the split's own must stay as they are
        except Exception as error:
            raise MetricError(f"metric {name!r} raised {type(error).__name__}: {one_line(error)}") from error
        if _version(outputs) != version:
            raise MetricError(f"metric {name!r} changes the outputs that it is given: work on a copy, outputs.clone()")
        try:
            number = float(value)
        except (TypeError, ValueError, RuntimeError):
            got = type(value).__name__
            raise MetricError(f"metric {name!r} returned a {got}, not a number: return one float") from None
        if not math.isfinite(number):
            better = "higher" if self.label.maximized else "lower"
            raise MetricError(
                f"metric {name!r} returned {number} for {len(labels)} rows: return a finite number, {better} is better"
            )
        return number

    def quality(self, outputs: Tensor, labels: Tensor) -> float:
        """Return what a search keeps: the value, with a minus sign where the metric is minimized. Raises as `value`."""
        return self.label.kept(self.value(outputs, labels))


def _version(tensor: Tensor) -> int:
    """Return how often a tensor was changed in place, as far as torch counts it."""
    return 0 if tensor.is_inference() else tensor._version


def metric_of(function: MetricFunction, direction: Direction = "maximize", name: str | None = None) -> Metric:
    """Return a user's function as a metric, under its own name if none is given."""
    found = str(name or getattr(function, "__name__", type(function).__name__))
    if found == "<lambda>":
        found = "metric"
    return Metric(function, MetricLabel("accuracy" if function is top1 else found, direction))


def _share(right: Tensor) -> float:
    # in double precision: 264 of 300 is 0.88, and not a little less
    return float(right.double().mean())


def top1(outputs: Tensor, labels: Tensor) -> float:
    """Return the share of rows, 0 to 1, whose largest output [N, K] is at the label.

    Args:
        outputs: [N, K].
        labels: Class numbers [N], or shares of classes [N, K], of which the largest counts.
    """
    wanted = labels.argmax(1) if labels.ndim == 2 else labels
    return _share(outputs.argmax(1) == wanted)


def sign_accuracy(outputs: Tensor, labels: Tensor) -> float:
    """Return the share of yes-or-no answers, 0 to 1, that are right: an output above 0 says yes."""
    return _share((outputs.reshape(labels.shape) > 0) == (labels > 0.5))


SHARES = (top1, sign_accuracy)
"""Functions whose value is a share of the examples, so that their number alone tells how sure it is."""


def micro_f1(outputs: Tensor, labels: Tensor) -> float:
    """Return the F1 score, 0 to 1, over all yes-or-no answers together: 2 TP / (2 TP + FP + FN)."""
    said, true = outputs > 0, labels > 0.5
    hits = (said & true).sum()
    return float(2 * hits.double() / (said.sum() + true.sum()).clamp_min(1))


def rmse(outputs: Tensor, labels: Tensor) -> float:
    """Return the root of the mean squared difference, in the unit of the labels."""
    return float((outputs.double().reshape(labels.shape) - labels.double()).square().mean().sqrt())


def mean_iou(outputs: Tensor, labels: Tensor) -> float:
    """Return the mean over classes of intersection over union, 0 to 1.

    A class that is in no label and in no answer does not count.

    Args:
        outputs: Logits [N, K, ...], or [N, 1, ...] of a yes-or-no map.
        labels: Class numbers [N, ...]; negative ones and 255 are left out.
    """
    said = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).long()
    labels = labels.reshape(said.shape).long()
    counted = (labels >= 0) & (labels != 255)
    said, true = said[counted], labels[counted]
    classes = max(2, outputs.shape[1])
    table = torch.bincount(true * classes + said, minlength=classes**2).view(classes, classes).double()
    union = table.sum(0) + table.sum(1) - table.diag()
    return float((table.diag() / union)[union > 0].mean())
