"""A task whose parts were read and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from torch import Tensor, fx, nn

from ..compression.losses import Losses
from ..spaces.graph.interface import ONE_INPUT, Interface
from ..spaces.inputs import Inputs
from .data.streams import StreamedData
from .data.tensors import MemoryData
from .metric import Metric


@dataclass(frozen=True, eq=False)
class PreparedTask:
    """A task whose parts were read and checked: inputs fit the teacher, and labels fit the kind of task.

    Attributes:
        teacher: The trained network as a graph, in eval mode on the CPU; see `spaces.graph.capture`.
        train: What students are taught on.
        calibration: Inputs [M, ...] of train.
        validation: What the search chooses by.
        test: What is looked at once at the end.
        metric: What models are judged by.
        losses: What students are taught by.
        example_input: [1, ...], of each input.
        name: What the study is called.
        teacher_look: The metric of the teacher on a part of validation, as a search keeps it (higher is better); None
            where it is not defined there.
        bare: The network that the graph shares its layers with, in eval mode; None where it is not known.
        interface: How that is called.
        early: Weights and buffers of the teacher early in its training, by their names in its graph; None where they
            are not known.
        students: Networks of the user's own that students may be cut from, as graphs in eval mode on the CPU, by name.
            All names in a graph begin with a name of its own.
    """

    teacher: fx.GraphModule
    train: MemoryData | StreamedData
    calibration: Inputs
    validation: MemoryData
    test: MemoryData
    metric: Metric
    losses: Losses
    example_input: Inputs
    name: str
    teacher_look: float | None = None
    bare: nn.Module | None = None
    interface: Interface = ONE_INPUT
    early: Mapping[str, Tensor] | None = None
    students: Mapping[str, fx.GraphModule] = field(default_factory=dict)
