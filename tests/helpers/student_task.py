"""A task for tests: the tiny one, with two students of the user's own of which one takes a width."""

from __future__ import annotations

from dataclasses import replace

import tiny_task
from torch import nn

from autocompress import Task


def small(width: int = 16) -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False),
        nn.Conv2d(width, 32, 1),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


def plain() -> nn.Module:
    """A network whose parts are called as those of the teacher are."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def task() -> Task:
    return replace(tiny_task.task(), students={"small": small, "plain": plain}, name="with_students")


def one_student() -> Task:
    return replace(tiny_task.task(), students={"plain": plain}, name="with_one_student")
