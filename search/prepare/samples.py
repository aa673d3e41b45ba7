"""What models take and give, and a few inputs to try them on, both kept for bundles before the first trial."""

from __future__ import annotations

import numpy as np

from ...compression.export import input_names
from ...spaces.inputs import tensors_of
from ...studies.task import PreparedTask
from ...studies.tracing import answers
from ..evaluate.context import EvaluationContext
from ..store.facts import TaskFacts, TensorFacts
from ..store.samples import Samples, known_samples, sample_rows, write_samples


def tensor_facts(task: PreparedTask) -> tuple[tuple[TensorFacts, ...], TensorFacts]:
    """Return what a task's networks take, in their order, and what they give."""
    first = task.validation.inputs(slice(0, 1))
    names, parts = input_names(task.teacher, task.example_input), [part.numpy() for part in tensors_of(first)]
    inputs = [TensorFacts(name, part.shape[1:], str(part.dtype)) for name, part in zip(names, parts, strict=True)]
    output = answers(task.teacher, first).numpy()
    return tuple(inputs), TensorFacts("output", output.shape[1:], str(output.dtype))


def keep_samples(context: EvaluationContext, facts: TaskFacts) -> None:
    """Keep a few inputs of the validation split, where they are small enough.

    Args:
        context: What this process has of the study.
        facts: What is known of its task, with its inputs and its output.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if known_samples(context.folder) is not None:
        return  # earlier trials answered these
    data, inputs = context.task.validation, facts.inputs
    answer_bytes = facts.output.bytes_of_one if facts.output else 0
    if rows := sample_rows(len(data), sum(part.bytes_of_one for part in inputs), answer_bytes):
        parts = (part.numpy() for part in tensors_of(data.inputs(rows)))
        names = (part.name for part in inputs)
        write_samples(context.folder, Samples(np.array(rows), dict(zip(names, parts, strict=True))))
