"""The layers that a student lacks, from what a study's folder keeps of its space; see `spaces.presence`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ...spaces.spec import StudentSpec


def lost_layers(space: Mapping[str, Any], spec: StudentSpec) -> frozenset[str]:
    """Return the layers that went with the blocks of a student's network that were dropped.

    Args:
        space: The study's `space.json`.
        spec: What became of the network that the student is cut from.
    """
    dropped = set(spec.dropped)
    return frozenset(name for block in space.get("blocks", []) if block["name"] in dropped for name in block["layers"])
