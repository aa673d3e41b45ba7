"""What goes into a model, in words of its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..store.facts import TaskFacts
from .record import SampleRecord


def inputs_in_words(inputs: Mapping[str, NDArray[Any]], task: TaskFacts, samples: SampleRecord | None) -> list[str]:
    """Return what a model takes, and what its classes and samples are, a line each.

    Args:
        inputs: The sample inputs, by name.
        task: What the study knows of its task.
        samples: The samples that the bundle holds, None without any.
    """
    lines = []
    for name, part in inputs.items():
        shape = ", ".join(map(str, part.shape[1:]))
        lines.append(f"{name}: a batch of [{shape}], {part.dtype}")
    known = task.preprocessing
    if known is not None and known.size is not None:
        mean = f", minus the mean {_numbers(known.mean)}" if known.mean else ""
        std = f", divided by the deviation {_numbers(known.std)}" if known.std else ""
        height, width = known.size
        lines.append(
            f"a picture becomes {height} x {width} pixels of {known.channels} channels ({known.layout}), times "
            f"{known.scale:.6g}{mean}{std}; see preprocessing.json"
        )
    elif known is not None and known.tokenizer:
        lines.append(f"a text becomes numbers by the tokenizer {known.tokenizer}; see preprocessing.json")
    else:
        lines.append("how a picture or a text becomes an input is not known to the study: give arrays, prepared alike")
    labels = task.labels
    few = ", ".join(labels[:20]) + (f" and {len(labels) - 20} more" if len(labels) > 20 else "")
    lines.append(f"classes: {few}; see labels.json" if labels else "classes have no names")
    if samples is None:
        lines.append("no sample inputs: the study kept none")
    else:
        lines.append(
            f"samples.npz holds {len(samples.rows)} inputs of the {samples.split} split with the answers of each file, "
            f"computed {samples.answered}"
        )
    return lines


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
