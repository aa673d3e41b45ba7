"""How many inputs at a time the files of a network take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..spaces.target import Target
from .templates import ANY_BATCH, COMPARED


@dataclass(frozen=True)
class Batching:
    """How the files of one network take batches.

    Attributes:
        batch: What templates are asked for: 1, COMPARED, ANY_BATCH or the target's.
        free: Whether files take any batch; else they take the target's, as a class token or the like demands.
    """

    batch: int
    free: bool


FIRST = Batching(1, True)
"""The first way that is tried: shapes follow by themselves, and where they do, the file is the faster one."""


def batchings(target: Target) -> Iterator[Batching]:
    """Yield the ways that a network is tried in; the target's own batch comes last."""
    yield from (FIRST, Batching(COMPARED, True), Batching(ANY_BATCH, True))
    yield Batching(target.batch, False)
