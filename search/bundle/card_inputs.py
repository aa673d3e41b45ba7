"""What goes into a model, in words of its card."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from ..store.facts import TaskFacts
from .record import SampleRecord


def inputs_in_words(
    inputs: Mapping[str, NDArray[Any]], task: TaskFacts, samples: SampleRecord | None, size: int = 0
) -> list[str]:
    """Return what a model takes, and what its classes and samples are, a line each.

    Args:
        inputs: The sample inputs, by name.
        task: What the study knows of its task.
        samples: The samples that the bundle holds, None without any.
        size: That the file makes its inputs smaller to, as in `StudentSpec.size`.
    """
    lines = []
    for name, part in inputs.items():
        shape = ", ".join(map(str, part.shape[1:]))
        lines.append(f"{name}: a batch of [{shape}], {part.dtype}")
    if size:
        lines.append(f"give inputs of the full size: {smaller_in_words(inputs, size)}")
    known = task.preprocessing
    if known is not None and known.size is not None and known.channels is not None:
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


def smaller_in_words(inputs: Mapping[str, NDArray[Any]], size: int) -> str:
    """Return what a file does with its inputs that looks at smaller ones.

    Args:
        inputs: The sample inputs, by name, in full size; empty where none were kept.
        size: Pixels of the shorter side of images, or tokens of sequences, that it looks at.
    """
    first = next(iter(inputs.values()), None)
    if first is None:
        return f"the file takes these and looks at {size} pixels of the shorter side, or at the first {size} tokens"
    if first.ndim != 4:
        return f"the file takes {first.shape[1]} tokens and reads the first {size} of them"
    height, width = first.shape[2:]
    to = f"{size} x {size} itself" if height == width else f"smaller itself, {size} on the shorter side"
    return f"the file takes {height} x {width} pixels and makes them {to}"


def cut_in_words(inputs: Mapping[str, NDArray[Any]], size: int) -> str:
    """Return what sequences lose in a file that looks at so many tokens; empty where it looks at all, or at images."""
    first = next(iter(inputs.values()), None)
    if not size or first is None or first.ndim == 4:
        return ""
    return f"The file takes {first.shape[1]} tokens, but those after the first {size} have no effect on its answers."


def _numbers(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
