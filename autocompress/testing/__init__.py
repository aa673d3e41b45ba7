"""Conformance suites: test classes that the author of a plug-in runs against it, with pytest.

Example:
    >>> from autocompress.testing import AxisConformance
    >>> class TestMyAxis(AxisConformance):
    ...     def make_axis(self):
    ...         return MyAxis()
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .axis import AxisConformance, sample_context
    from .data_source import DataSourceConformance
    from .executor import ExecutorConformance
    from .objective import ObjectiveConformance
    from .runtime import RuntimeConformance
    from .timing_host import TimingHostConformance

_MODULES = {
    "AxisConformance": "axis",
    "sample_context": "axis",
    "DataSourceConformance": "data_source",
    "ExecutorConformance": "executor",
    "ObjectiveConformance": "objective",
    "RuntimeConformance": "runtime",
    "TimingHostConformance": "timing_host",
}

__all__ = [
    "AxisConformance",
    "DataSourceConformance",
    "ExecutorConformance",
    "ObjectiveConformance",
    "RuntimeConformance",
    "TimingHostConformance",
    "sample_context",
]


def __getattr__(name: str) -> Any:
    """Hand suites on lazily: each imports what its seam needs."""
    if name in _MODULES:
        return getattr(importlib.import_module(f".{_MODULES[name]}", __name__), name)
    raise AttributeError(f"module 'autocompress.testing' has no attribute {name!r}")
