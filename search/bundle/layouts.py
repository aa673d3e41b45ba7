"""The forms that a bundle is written in: a plain folder, a repository for the Hugging Face Hub, one for Triton."""

from __future__ import annotations

from pathlib import Path

from ...errors import UnknownName
from ...spaces.target import PerTarget
from ..report.entry import Entry
from ..report.front import Front
from . import LAYOUTS
from .contents import write_bundle
from .hub import add_hub_files
from .triton import write_repository


def write_as(layout: str, front: Front, entry: Entry, out: Path) -> PerTarget[Path]:
    """Write the bundle of a model.

    Args:
        layout: One of `LAYOUTS`.
        front: The front.
        entry: The model.
        out: The folder.

    Returns:
        The model files, by target.

    Raises:
        UnknownName: There is no such layout.
        UsageError: The layout has no place for files of this runtime.
        StorageError: A file of the study is gone, or the disk is full or cannot be written.
    """
    if layout not in LAYOUTS:
        raise UnknownName("layout", layout, LAYOUTS)
    if layout == "triton":
        return write_repository(front, entry, out)
    return write_bundle(front, entry, out, add_hub_files if layout == "hub" else None)
