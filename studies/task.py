"""A task: what must stay true. A teacher, its data, what students are taught by and what they are judged by."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from ..compression.losses import Losses
from ..compression.seeds import seeded_generator
from ..errors import DataError, StudyFileError, UnknownName
from ..spaces.inputs import Inputs, count_of, joined, rows_of
from .bare import bare_network
from .checks import check_memory, check_training, look_at_metric, remarks_on_outputs, remarks_on_splits
from .data.images import ImageData
from .data.looked import reading_of
from .data.one_shape import OneShape
from .data.reading import Reading, check_finite, described
from .data.sources import as_data, materialise
from .data.streams import StreamedData
from .data.tensors import MemoryData, TensorData
from .early import EarlyWeights, bare_early, early_in_graph
from .fitting import (
    advice_on_labels,
    check_alike,
    check_names,
    for_each_example,
    inputs_given,
    label_check,
    own_losses,
    placed,
    some_labels,
)
from .kinds import KINDS, Kind, KindName
from .loading import load_function
from .metric import Direction, Metric, MetricFunction, metric_of, top1
from .own_students import Maker, Wanted, captured_students
from .prepared import PreparedTask
from .preprocessing import Preprocessing, names_of_classes
from .tracing import captured_teacher, checked_answers, computes_in_16_bits, remarks_on_other_outputs

__all__ = ["PreparedTask", "Task", "load_task", "top1"]

Source = Dataset[Any] | DataLoader[Any] | ImageData | TensorData
Say = Callable[[str], None]

CALIBRATION_INPUTS = 512
"""The most that is taken of train where a task brings no calibration inputs."""
LOOKED_AT = 8
"""Validation inputs that the teacher is tried on."""


@dataclass(frozen=True, eq=False)
class Task:
    """What must stay true of a compressed model. Nothing is read before `prepared`.

    Items of data are (input, label) pairs, or mappings with the label under "labels" or "label". An input is a tensor,
    a tuple of tensors, or a mapping of tensors by the names that the teacher's `forward` knows. Whole numbers stay
    whole, as tokens or categories.

    Attributes:
        teacher: A trained network. Of several outputs, one counts; see `output`.
        train: A torch Dataset, an IterableDataset, or a DataLoader.
        validation: The same, for choosing by.
        test: The same, looked at once at the end.
        metric: Maps outputs [N, ...] and labels [N, ...] of a split to a number; None takes the kind's own.
        example_input: A batch of 1, or a tuple of them; None takes the first input of validation. Its shape is the one
            that latency is measured at.
        calibration: Inputs [M, ...] or a split, for quantization; None takes up to 512 of train.
        name: What the study is called.
        kind: What outputs and labels are: "classification", "binary", "multilabel", "regression", "segmentation",
            "tokens" or "language_model"; see `studies.kinds`. None asks for a `loss` and a `metric`, and for nothing
            else.
        metric_direction: "maximize" or "minimize" `metric`; None maximizes, but for the kinds' own metrics, whose
            direction is known.
        loss: Maps outputs [B, ...] and labels [B, ...] to a mean loss, in place of the kind's own.
        distillation: Maps a student's outputs, the teacher's outputs and a temperature to how far they are apart, one
            number for each example or one for the batch, in place of the kind's own.
        output: Name or number of the output that counts, where the teacher gives several. None takes `logits`, `out`,
            the only tensor besides `loss`, or the first of a tuple.
        length: The second dimension that inputs are filled up (with zeros) or cut to, where they differ in it. Labels
            that have a number for each position follow (with -100; those of a regression are only cut).
        size: Height and width in pixels that images [C, H, W], and labels that are maps [H, W], are resized to.
        labels: Names of the classes, in the order of the outputs; they are shipped with models. Numbers become texts.
        preprocessing: How a picture or a text became an input; it is shipped with models, and not applied here. None
            takes what is known of images that are kept as bytes.
        early_weights: The state_dict that the teacher had early in its training, or a file that holds it, for students
            that begin with it (Frankle et al. 2020, arXiv:1912.05671); see `[recovery] starts`.
        students: Name -> a function that builds another network for the task, or the name of one ("torchvision/..." or
            "timm/..."). A search teaches them, and compresses them as it compresses the teacher. A function with a
            parameter `width`, a number or without default, is also asked for 75 % and 50 % of it.
    """

    teacher: nn.Module
    train: Source
    validation: Source
    test: Source
    metric: MetricFunction | None = None
    example_input: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | None = None
    calibration: Tensor | Sequence[Tensor] | Mapping[str, Tensor] | Source | None = None
    name: str = "task"
    kind: KindName | None = "classification"
    metric_direction: Direction | None = None
    loss: Callable[[Tensor, Tensor], Tensor] | None = None
    distillation: Callable[[Tensor, Tensor, float], Tensor] | None = None
    output: str | int | None = None
    length: int | None = None
    size: tuple[int, int] | None = None
    labels: Sequence[Any] | None = None
    preprocessing: Preprocessing | None = None
    early_weights: EarlyWeights | None = None
    students: Mapping[str, Maker] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "labels", names_of_classes(self.labels))

    def bare(self, say: Say = lambda line: None) -> Task:
        """Return the same task with a bare copy of its teacher; see `studies.bare`. `say` takes what was left behind.

        Raises:
            ExportError: The teacher cannot be copied, or has weights that cannot be folded.
            DataError: Its early weights are not those of this network.
        """
        bare = bare_network(self.teacher)
        for remark in bare.remarks:
            say(remark)
        return replace(self, teacher=bare.network, early_weights=bare_early(self.teacher, self.early_weights))

    def reading(self) -> Reading:
        """Return how the items of all splits become inputs and labels, as some of validation show.

        Raises:
            DataError: They cannot be read.
            UnknownName: There is no such kind of task.
        """
        kind = self.kind_of_task()
        positions, own = None if kind is None else kind.positions, self.loss is not None and self.metric is not None
        fills = own or kind is None or kind.leaves_out
        shape = OneShape(self.length, self.size, labels=positions, fills=fills)
        splits = {"validation": self.validation, "train": self.train, "test": self.test}
        return reading_of(self.teacher, splits, shape, self.output, own_labels=self.kind == "language_model")

    def kind_of_task(self) -> Kind | None:
        """Return what is known of the kind of task; None where the task brings everything itself.

        Raises:
            UnknownName: There is no such kind.
            DataError: It does not bring everything.
        """
        if self.kind is None:
            if self.loss is None or self.metric is None:
                raise DataError("kind=None asks for a loss and a metric of the task's own: give both, or name a kind")
            return None
        if self.kind not in KINDS:
            raise UnknownName("kind of task", str(self.kind), KINDS)
        return KINDS[self.kind]

    def prepared(self, say: Say = lambda line: None) -> PreparedTask:
        """Read the splits, and try the teacher, the losses and the metric on a few examples.

        Args:
            say: Takes a line about what was noticed.

        Raises:
            DataError: A split is empty or cannot be used, labels do not fit the kind of task, the teacher does not
                give one answer to each input, or a student of the user's own does not fit.
            MetricError: The metric gives no number on the teacher, or a better one for shuffled outputs.
            ExportError: The teacher's forward pass cannot be traced.
            UnknownName: There is no such kind of task.
        """
        kind = self.kind_of_task()
        network = bare_network(self.teacher).network
        reading = replace(self, teacher=network).reading()
        validation = materialise(self.validation, "validation", reading=reading)
        test = materialise(self.test, "test", reading=reading)
        train = as_data(self.train, "train", reading=reading)
        for split, data in (("train", train), ("validation", validation), ("test", test)):
            if len(data) == 0:
                raise DataError(f"the {split} split is empty: give at least one item")
        few = validation.inputs(slice(0, LOOKED_AT))
        check_alike("test", test.inputs(slice(0, 1)), few)
        own = self.example_input
        example = few if own is None else inputs_given(own, reading.interface, "example_input")
        example = check_alike("example_input", rows_of(example, slice(0, 1)), few)
        outputs = checked_answers(network, reading.interface, few)
        if computes_in_16_bits(network, reading.interface, few):
            say("teacher: what it computes in 16 bits is computed in float32, so answers differ a little")
        check_memory({"validation": len(validation), "test": len(test)}, outputs[0].nbytes)
        classes = self._check_labels(kind, outputs, validation, test, train)
        check_names(self.labels, outputs.shape[1] if self.kind == "multilabel" else classes)
        remarks = remarks_on_other_outputs(network, reading.interface, few)
        for remark in (*remarks, *remarks_on_outputs(self.kind, outputs)):
            say(remark)
        if isinstance(train, StreamedData):
            train = train.checked(label_check(kind, outputs, classes))
        else:
            check_alike("train", train.inputs(slice(0, 1)), few)
        given = self.calibration is not None
        calibration = self._calibration(train, reading)
        if count_of(calibration) == 0:
            raise DataError("calibration has no inputs: give some, or leave it out to take them of train")
        check_finite(calibration, "calibration", "its inputs")
        calibration = check_alike("calibration" if given else "train", calibration, few)
        graph = captured_teacher(network, reading.interface, few, outputs)
        losses, metric = self._losses(kind, train, outputs), self._metric(kind)
        check_training(graph, train, losses)
        look = look_at_metric(graph, validation, metric, classes, say)
        named = None if self.kind == "language_model" else classes  # no split holds every token
        for remark in remarks_on_splits(train, validation, test, named):
            say(remark)
        early = early_in_graph(self.teacher, self.early_weights, graph, reading.interface, few)
        students = captured_students(self.students, Wanted.of(graph, reading.interface, few, outputs))
        return PreparedTask(
            graph, train, calibration, validation, test, metric, losses, example, self.name, look, network,
            reading.interface, early, students,
        )  # fmt: skip

    def _metric(self, kind: Kind | None) -> Metric:
        if self.metric_direction not in (None, "maximize", "minimize"):
            raise UnknownName("metric_direction", str(self.metric_direction), ("maximize", "minimize"))
        known = [each.metric for each in KINDS.values() if each.metric.function is self.metric]
        if self.metric is not None and not known:
            return metric_of(self.metric, self.metric_direction or "maximize")
        found = known[0] if known else kind.metric if kind is not None else None
        assert found is not None
        if self.metric_direction not in (None, found.label.direction):
            raise DataError(
                f"metric_direction = {self.metric_direction!r}, but {found.label.name} is {found.label.direction}d: "
                "leave it out"
            )
        return found

    def _losses(self, kind: Kind | None, train: MemoryData | StreamedData, outputs: Tensor) -> Losses:
        own = placed(self.loss)
        if kind is not None:
            made = kind.losses(some_labels(train))
        else:
            assert own is not None
            made = own_losses(own, outputs)
        soft = made.soft if self.distillation is None else for_each_example(self.distillation)
        return replace(made, hard=made.hard if own is None else own, soft=soft)

    def _check_labels(self, kind: Kind | None, outputs: Tensor, *splits: MemoryData | StreamedData) -> int | None:
        if kind is None:
            return None
        first = splits[0]
        assert not isinstance(first, StreamedData)
        labels = first.labels[:LOOKED_AT]
        if not kind.fits(outputs, labels):
            raise DataError(
                f"a task of kind {self.kind!r} has outputs {kind.outputs} and labels: {kind.labels}; got outputs "
                f"{list(outputs.shape)} and labels {described(labels)}: "
                f"{advice_on_labels(str(self.kind), kind, outputs, labels)}"
            )
        classes = None if kind.classes is None else kind.classes(outputs)
        check = label_check(kind, outputs, classes)
        for split, data in zip(("validation", "test", "train"), splits, strict=True):
            if not isinstance(data, StreamedData):
                check(data.labels, split)
        return classes

    def _calibration(self, train: MemoryData | StreamedData, reading: Reading) -> Inputs:
        source = train if self.calibration is None else self.calibration
        if isinstance(source, Tensor | list | tuple | Mapping):
            return inputs_given(source, reading.interface, "calibration")
        data = as_data(source, "calibration", reading=reading)  # type: ignore[arg-type]
        count = min(CALIBRATION_INPUTS, len(data))
        if not isinstance(data, StreamedData):
            order = torch.randperm(len(data), generator=seeded_generator("calibration"))
            return data.inputs(order[:count])
        plan = data.epoch_plan(epoch=0, batch_size=min(64, count), seed=0)
        batches: list[Inputs] = []
        while sum(map(count_of, batches)) < count and len(batches) < plan.steps:
            batches.append(plan.batch(len(batches))[0])
        return rows_of(joined(batches), slice(0, count))


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
