"""A task: what must stay true. A teacher, its data and a metric."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.utils.data import DataLoader, Dataset

from ..compression.seeds import seeded_generator
from ..errors import DataError, ExportError, MetricError, StudyFileError, one_line
from ..spaces.graph.capture import capture
from .data.images import ImageData, check_labels
from .data.sources import StreamedData, as_data, materialise
from .loading import load_function

Metric = Callable[[Tensor, Tensor], float]
"""Outputs [N, K] and labels [N] to a number; higher is better."""
Source = Dataset[Any] | DataLoader[Any] | ImageData

CALIBRATION_IMAGES = 512
"""The most that is taken of train where a task brings no calibration inputs."""


def top1(outputs: Tensor, labels: Tensor) -> float:
    """Return the share of rows, 0 to 1, whose largest output [N, K] is at the label [N]."""
    return float((outputs.argmax(1) == labels).float().mean())


@dataclass(frozen=True, eq=False)
class Task:
    """What must stay true of a compressed model. Nothing is read before `prepared`.

    Attributes:
        teacher: A trained classifier, which maps inputs [N, ...] to outputs [N, K].
        train: A map-style torch Dataset, or a DataLoader, of (float input, integer label), or ImageData.
        validation: The same, for choosing by.
        test: The same, looked at once at the end.
        metric: Maps outputs [N, K] and labels [N] to a number; higher is better.
        example_input: A batch of 1; None takes the first input of validation.
        calibration: Inputs [M, ...] or a split, for quantization; None takes up to 512 of train.
        name: What the study is called.
    """

    teacher: nn.Module
    train: Source
    validation: Source
    test: Source
    metric: Metric = top1
    example_input: Tensor | None = None
    calibration: Tensor | Source | None = None
    name: str = "task"

    def prepared(self) -> PreparedTask:
        """Read the splits and try the teacher on a batch. The teacher is put into eval mode.

        Raises:
            DataError: A split is empty or cannot be used, a label is out of range, or the teacher's outputs are not
                finite numbers [N, K].
            ExportError: The teacher's forward pass cannot be traced.
        """
        validation = materialise(self.validation, "validation")
        test = materialise(self.test, "test")
        train = as_data(self.train, "train")
        for split, data in (("train", train), ("validation", validation), ("test", test)):
            if len(data) == 0:
                raise DataError(f"the {split} split is empty: give at least one item")
        self.teacher.eval()
        classes = _output_count(self.teacher, validation.inputs(slice(0, 4)))
        check_labels(validation.labels, classes, "validation")
        check_labels(test.labels, classes, "test")
        if isinstance(train, ImageData):
            check_labels(train.labels, classes, "train")
            _check_shape("train", train.images[:1], validation.images[:1])
        else:
            train = train.with_classes(classes)
        _check_shape("test", test.images[:1], validation.images[:1])
        example = validation.inputs(slice(0, 1)) if self.example_input is None else self.example_input[:1].float()
        _check_shape("example_input", example, validation.images[:1])
        calibration = _calibration_inputs(train if self.calibration is None else self.calibration)
        _check_shape("calibration", calibration[:1], validation.images[:1])
        teacher = captured_teacher(self.teacher, example)
        return PreparedTask(teacher, train, calibration, validation, test, self.metric, example, classes, self.name)


@dataclass(frozen=True, eq=False)
class PreparedTask:
    """A task whose parts were read and checked: inputs fit the teacher, and labels lie in 0..classes-1.

    Attributes:
        teacher: The trained network as a graph, in eval mode on the CPU; see `spaces.graph.capture`.
        train: What students are taught on.
        calibration: Inputs [M, ...], float32, of train.
        validation: What the search chooses by.
        test: What is looked at once at the end.
        metric: Maps outputs [N, K] and labels [N] to a number; higher is better.
        example_input: [1, ...], float32.
        classes: Number of outputs, K.
        name: What the study is called.
    """

    teacher: fx.GraphModule
    train: ImageData | StreamedData
    calibration: Tensor
    validation: ImageData
    test: ImageData
    metric: Metric
    example_input: Tensor
    classes: int
    name: str


def score(metric: Metric, outputs: Tensor, labels: Tensor) -> float:
    """Return what the metric says of outputs [N, K] and labels [N].

    Raises:
        MetricError: The metric raises, or gives something else than a finite number.
    """
    name = getattr(metric, "__name__", type(metric).__name__)
    try:
        value = metric(outputs, labels)
    except Exception as error:
        raise MetricError(f"metric {name!r} raised {type(error).__name__}: {one_line(error)}") from error
    try:
        number = float(value)
    except (TypeError, ValueError, RuntimeError):
        got = type(value).__name__
        raise MetricError(f"metric {name!r} returned a {got}, not a number: return one float") from None
    if not math.isfinite(number):
        raise MetricError(
            f"metric {name!r} returned {number} for {len(labels)} rows: return a finite number, higher is better"
        )
    return number


def load_task(spec: str, folder: Path | None = None) -> Task:
    """Make the task that a function of the user's returns.

    Args:
        spec: `path/to/file.py`, whose function is `task`, `file.py:function` or `module:function`.
        folder: Where a relative file, and modules, are looked for; the current folder if None.

    Raises:
        StudyFileError: There is no such file or module, the user's code raises, or it returns something else.
        UnknownName: There is no such function.
    """
    result = load_function(spec, "task", folder)()
    if not isinstance(result, Task):
        raise StudyFileError(f"{spec} returned a {type(result).__name__}, not a Task: return autocompress.Task(...)")
    teacher: Any = result.teacher
    if not isinstance(teacher, nn.Module):
        raise StudyFileError(f"{spec}: the task's teacher is a {type(teacher).__name__}: give a torch.nn.Module")
    return result


def captured_teacher(teacher: nn.Module, example_input: Tensor) -> fx.GraphModule:
    """Return a teacher as a graph that answers as it does, on the CPU.

    Args:
        teacher: The network, in eval mode. It is put on the CPU.
        example_input: [1, ...].

    Raises:
        ExportError: Its forward pass cannot be traced, or does something else when it is traced.
    """
    try:
        graph = capture(teacher.cpu(), example_input)
        inputs = torch.cat([example_input] * 3)
        with torch.no_grad():
            expected, got = teacher(inputs.clone()), graph(inputs.clone())
    except Exception as error:  # torch.export raises errors of many kinds
        raise ExportError(
            f"the teacher cannot be traced, as exported files need it: {type(error).__name__}: {one_line(error)}; "
            "take branches on values, and what torch.export does not know, out of its forward pass"
        ) from error
    off = float((got - expected).abs().max() / expected.abs().max().clamp_min(1.0))
    if not off <= 1e-4:
        raise ExportError(
            f"the teacher answers differently when it is traced (by {off:.2g} of the largest output): its forward pass "
            "must not depend on anything but its inputs"
        )
    return graph


def _output_count(teacher: nn.Module, inputs: Tensor) -> int:
    device = next((p.device for p in teacher.parameters()), torch.device("cpu"))
    try:
        with torch.no_grad():
            outputs = teacher(inputs.to(device))
    except Exception as error:
        raise DataError(
            f"the teacher cannot take validation inputs of shape {list(inputs.shape)}: "
            f"{type(error).__name__}: {one_line(error)}"
        ) from error
    if not isinstance(outputs, Tensor) or outputs.ndim != 2 or len(outputs) != len(inputs):
        got = str(list(outputs.shape)) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        raise DataError(f"the teacher must give outputs [N, K], got {got} for {len(inputs)} inputs: wrap it")
    if not bool(torch.isfinite(outputs).all()):
        raise DataError("the teacher gives NaN or infinite outputs on validation inputs: check its weights")
    return outputs.shape[1]


def _check_shape(name: str, got: Tensor, expected: Tensor) -> None:
    if got.shape[1:] != expected.shape[1:]:
        raise DataError(
            f"{name} has inputs of shape {list(got.shape[1:])}, validation has {list(expected.shape[1:])}: "
            "all splits must agree"
        )


def _calibration_inputs(source: Tensor | Source | StreamedData) -> Tensor:
    if isinstance(source, Tensor):
        return source.float()
    data = as_data(source, "calibration")
    count = min(CALIBRATION_IMAGES, len(data))
    if isinstance(data, ImageData):
        order = torch.randperm(len(data), generator=seeded_generator("calibration"))
        return data.inputs(order[:count])
    plan = data.epoch_plan(epoch=0, batch_size=min(64, count), seed=0)
    batches: list[Tensor] = []
    while sum(map(len, batches)) < count and len(batches) < plan.steps:
        batches.append(plan.batch(len(batches))[0])
    return torch.cat(batches)[:count]
