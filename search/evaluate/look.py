"""A study's network as its axes need it: what takes long is only looked for where an axis is named that asks for it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from ...spaces.axes.size import SizeAxis
from ...spaces.graph.devices import moved
from ...spaces.network import Network, look_at_network
from ...spaces.sizes import find_sizes
from ...studies.task import PreparedTask
from .first_weights import look_at_students


def look_at_teacher(task: PreparedTask, axes: Collection[str]) -> Network:
    """Find what a study can compress in its teacher, and in students of the user's own.

    Args:
        task: The study's task.
        axes: Names of the study's axes.

    Raises:
        UsageError: There is nothing to compress.
    """
    found = look_at_network(moved(task.teacher, "cpu"), task.example_input)
    found = replace(found, students=look_at_students(task))
    if SizeAxis.name not in axes or task.bare is None:
        return found
    resizings, no_sizes = find_sizes(task.bare, task.teacher, task.example_input, task.interface)
    return replace(found, resizings=resizings, no_sizes=no_sizes)
