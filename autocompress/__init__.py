"""AutoCompress: joint compression search against a latency budget measured on real hardware."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_HOMES = {"Task": "autocompress.studies.task", "Front": "autocompress.search.report.front"}


def __getattr__(name: str) -> Any:
    """Hand names on lazily, so that importing the package does not cost an import of torch."""
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    if name == "search":
        return importlib.import_module("autocompress.search")
    raise AttributeError(f"module 'autocompress' has no attribute {name!r}")
