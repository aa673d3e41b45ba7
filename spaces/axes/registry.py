"""Which axes there are. Any installed package can bring one through the entry-point group `autocompress.axes`."""

from __future__ import annotations

from ..plugins import Registry
from .base import Axis

AXES: Registry[Axis] = Registry("axis", "autocompress.axes", Axis)

SIZES = ("channels", "width")
"""The axes that make a whole student narrower; a space has one of them."""
SCALED = (frozenset({"depth"}), frozenset(SIZES), frozenset({"size"}))
"""What compound scaling changes together, by the axes that decide it."""
DEFAULT = ("depth", "channels", "size", "pattern", "bits", "recovery")
"""The axes of a study that names none."""
