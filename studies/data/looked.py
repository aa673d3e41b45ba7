"""How the items of a task become inputs and labels, as some of them show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import nn

from ...spaces.graph.interface import ONE_INPUT
from ...spaces.inputs import tensors_of
from .images import ImageData
from .one_shape import OneShape
from .reading import Reading, interface_of
from .sources import first_batch, items_alone
from .streams import StreamedData
from .tensors import TensorData


def reading_of(
    teacher: nn.Module, splits: Mapping[str, Any], shape: OneShape, output: str | int | None, own_labels: bool
) -> Reading:
    """Return how the items of all splits become inputs and labels.

    Args:
        teacher: Names the inputs that it takes.
        splits: By name; the first shows what a batch is, and the first that is not in memory what differs in shape.
        shape: What is asked of the inputs.
        output: Name or number of the teacher's output that counts; see `Interface`.
        own_labels: Whether items without labels are their own.

    Raises:
        DataError: They cannot be read.
    """
    first, judged = next(iter(splits.items()))
    if isinstance(judged, ImageData | TensorData):
        count = len(tensors_of(judged.inputs(slice(0, 1))))
        names = ("input",) if count == 1 else tuple(f"input_{i}" for i in range(count))
        reading = Reading(replace(ONE_INPUT, names=names, output=output), shape, own_labels)
    else:
        batch = items_alone(judged, first)[0] if shape.differs else first_batch(judged, first)
        reading = Reading(interface_of(teacher, batch, output, first), shape, own_labels)
    known = (ImageData, TensorData, StreamedData)
    split, source = next(((name, each) for name, each in splits.items() if not isinstance(each, known)), ("", None))
    if source is None or not shape.differs:
        return reading
    items = [reading.parts(batch, split) for batch in items_alone(source, split)]
    return replace(reading, shape=shape.told_from(items))
