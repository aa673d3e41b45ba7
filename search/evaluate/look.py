"""A study's network as its axes need it: what takes long is only looked for where an axis is named that asks for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from ...spaces.axes.size import SizeAxis
from ...spaces.graph.devices import moved
from ...spaces.network import Network, look_at_network
from ...studies.task import PreparedTask
from .first_weights import look_at_students
from .kept_sizes import has_sizes, sizes_of_study


def look_at_teacher(
    task: PreparedTask, axes: Collection[str], folder: Path | None = None, keeps: bool = False
) -> Network:
    """Find what a study can compress in its teacher, and in students of the user's own.

    Args:
        task: The study's task.
        axes: Names of the study's axes.
        folder: The study's folder, which may hold what takes long to find; None where there is none.
        keeps: Whether what is found is kept there.

    Raises:
        UsageError: There is nothing to compress.
        StorageError: The disk is full or cannot be written.
    """
    found = look_at_network(moved(task.teacher, "cpu"), task.example_input)
    found = replace(found, students=look_at_students(task))
    if SizeAxis.name not in axes and not has_sizes(folder):
        return found
    resizings, no_sizes = sizes_of_study(task, found.groups, folder, keeps)
    return replace(found, resizings=resizings, no_sizes=no_sizes)
