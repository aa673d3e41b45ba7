"""Executors by name."""

from __future__ import annotations

import importlib
from typing import cast

from ...errors import UnknownName
from .base import Executor, ExecutorFactory, Workplace

HOMES = {
    "local": ("local", "LocalExecutor"),
    "processes": ("processes", "ProcessExecutor"),
    "ray": ("on_ray", "RayExecutor"),
}


def make_executor(name: str, workplace: Workplace, workers: int) -> Executor:
    """The executor called `name`, ready for jobs.

    Raises:
        UnknownName: there is none of this name. RuntimeUnavailable: its library is not installed.
    """
    if name not in HOMES:
        raise UnknownName("executor", name, HOMES)
    module, cls = HOMES[name]
    factory = cast(ExecutorFactory, getattr(importlib.import_module(f".{module}", __package__), cls))
    return factory(workplace, workers)
