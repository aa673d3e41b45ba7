"""The versions that a study is searched with, kept so that a stranger can repeat it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata

LIBRARIES = (
    "autocompress", "torch", "torchvision", "onnx", "onnxscript", "numpy", "scipy", "scikit-learn", "optuna", "moocore",
    "safetensors", "zstandard",
)  # fmt: skip
"""Packages that decide what students are made of, how they are taught, and which are proposed."""


def versions(runtimes: Mapping[str, str]) -> dict[str, str]:
    """Return the versions of Python, of the system, of the targets' runtimes, and of the libraries that take part.

    Args:
        runtimes: Name of a runtime -> its version.
    """
    found = {"Python": platform.python_version(), "system": platform.platform(), **runtimes}
    for name in LIBRARIES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found
