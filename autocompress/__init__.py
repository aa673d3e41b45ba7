"""AutoCompress: joint compression search against a latency budget measured on real hardware."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import compress, open_study
    from .errors import (
        AutoCompressError,
        BudgetError,
        BundleError,
        ConditionsChanged,
        DataError,
        ExportError,
        MeasurementError,
        MetricError,
        PluginError,
        RuntimeUnavailable,
        StorageError,
        StudyFileError,
        StudyOpen,
        TimingHostLost,
        UnknownName,
        UsageError,
    )
    from .search.report.front import Front
    from .search.report.picked import Picked
    from .studies.task import Task

_MODULES = {
    "compress": "api",
    "open_study": "api",
    "Front": "search.report.front",
    "Picked": "search.report.front",
    "Task": "studies.task",
    **dict.fromkeys(
        (
            "AutoCompressError",
            "BudgetError",
            "BundleError",
            "ConditionsChanged",
            "DataError",
            "ExportError",
            "MeasurementError",
            "MetricError",
            "PluginError",
            "RuntimeUnavailable",
            "StorageError",
            "StudyFileError",
            "StudyOpen",
            "TimingHostLost",
            "UnknownName",
            "UsageError",
        ),
        "errors",
    ),
}

__all__ = [
    "AutoCompressError",
    "BudgetError",
    "BundleError",
    "ConditionsChanged",
    "DataError",
    "ExportError",
    "Front",
    "MeasurementError",
    "MetricError",
    "Picked",
    "PluginError",
    "RuntimeUnavailable",
    "StorageError",
    "StudyFileError",
    "StudyOpen",
    "Task",
    "TimingHostLost",
    "UnknownName",
    "UsageError",
    "compress",
    "open_study",
]


def __getattr__(name: str) -> Any:
    """Hand names on lazily, so that importing the package does not cost an import of torch."""
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    if name == "__version__":
        from importlib.metadata import version

        return version("autocompress")
    raise AttributeError(f"module 'autocompress' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
