"""The sizes of inputs that a study's network can look at, kept in the study's folder for workers and later runs.

To find them takes a capture of the network for each size: seconds, of large networks a minute.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files import read_object, write_json
from ...spaces.graph.resized import Resizing
from ...spaces.graph.shrink import Number
from ...spaces.group import Group, LeftOut
from ...spaces.inputs import tensors_of
from ...spaces.sizes import find_sizes
from ...studies.task import PreparedTask

KEPT = "sizes.json"
"""What a study keeps of them."""

Sizes = tuple[tuple[Resizing, ...], tuple[LeftOut, ...]]


def has_sizes(folder: Path | None) -> bool:
    """Tell whether a study's folder holds sizes: students of the study may have them, whatever its axes are now."""
    return folder is not None and (folder / KEPT).exists()


def sizes_of_study(task: PreparedTask, groups: Sequence[Group], folder: Path | None, keeps: bool) -> Sizes:
    """Return the sizes that a task's teacher can look at, largest first, and why it cannot look at others.

    Args:
        task: The task. Without its bare network, as it travels to other machines, nothing but what is kept is found.
        groups: Its teacher's groups of channels.
        folder: The study's folder; None looks for them anew.
        keeps: Whether what is found is written there.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    path = None if folder is None else folder / KEPT
    of = _digest(task)
    kept = None if path is None else read_object(path)
    if kept is not None and kept.get("of") == of:
        try:
            return _from_plain(kept)
        except (AttributeError, KeyError, TypeError, ValueError):
            pass  # damaged: what it held can be found again
    if task.bare is None:
        return (), ()
    found = find_sizes(task.bare, task.teacher, task.example_input, task.interface, groups)
    if path is not None and keeps:
        write_json(path, {"of": of, **_to_plain(found)})
    return found


def _digest(task: PreparedTask) -> str:
    """Return what sizes, and the names of nodes in them, hang on: the captured network and its inputs."""
    shapes = [(tuple(part.shape), str(part.dtype)) for part in tensors_of(task.example_input)]
    return hashlib.sha256(f"{shapes}\n{task.teacher.graph}".encode()).hexdigest()


def _to_plain(sizes: Sizes) -> dict[str, Any]:
    return {
        "sizes": [
            {
                "size": each.size,
                "shape": each.shape,
                "full": each.full,
                "numbers": {node: list(numbers.items()) for node, numbers in each.numbers.items()},
                "areas": dict(each.areas),
                "falls": {
                    group: [[n.node, n.argument, n.position, falls] for n, falls in numbers.items()]
                    for group, numbers in each.falls.items()
                },
            }
            for each in sizes[0]
        ],
        "left_out": [[entry.name, entry.reason] for entry in sizes[1]],
    }


def _from_plain(plain: Mapping[str, Any]) -> Sizes:
    return (
        tuple(
            Resizing(
                int(each["size"]),
                tuple(map(int, each["shape"])),
                tuple(map(int, each["full"])),
                {node: {int(at): number for at, number in numbers} for node, numbers in each["numbers"].items()},
                {name: int(area) for name, area in each["areas"].items()},
                {
                    group: {
                        Number(n, int(a), None if p is None else int(p)): tuple(map(int, f)) for n, a, p, f in numbers
                    }
                    for group, numbers in each["falls"].items()
                },
            )
            for each in plain["sizes"]
        ),
        tuple(LeftOut(name, reason) for name, reason in plain["left_out"]),
    )
