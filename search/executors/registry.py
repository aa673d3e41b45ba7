"""Which executors there are. Any installed package can bring one through `autocompress.executors`."""

from __future__ import annotations

import importlib.util

from ...errors import RuntimeUnavailable
from ...spaces.plugins import Registry
from .base import Executor, ExecutorContext, ExecutorFactory

EXECUTORS: Registry[ExecutorFactory] = Registry("executor", "autocompress.executors")
LIBRARIES = {"ray": "ray"}
"""What built-in executors import."""


def executor_factory(name: str) -> ExecutorFactory:
    """Return what makes executors of this name.

    Raises:
        UnknownName: There is none of this name.
        PluginError: It cannot be loaded.
        RuntimeUnavailable: Its library is not installed.
    """
    factory: ExecutorFactory = EXECUTORS.load(name)
    if name in LIBRARIES and importlib.util.find_spec(LIBRARIES[name]) is None:
        raise RuntimeUnavailable(
            f"executor {name!r} needs {LIBRARIES[name]}, which is not installed: pip install 'autocompress[{name}]'"
        )
    return factory


def make_executor(name: str, context: ExecutorContext, workers: int) -> Executor:
    """Return an executor, ready for jobs.

    Raises:
        UnknownName: There is none of this name.
        PluginError: It cannot be loaded.
        RuntimeUnavailable: Its library is not installed.
    """
    return executor_factory(name)(context, workers)
