"""Long work in short slices, between which latencies can be measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import TypeVar

T = TypeVar("T")
Slices = Callable[[], AbstractContextManager[None]]
"""Makes what one slice of work runs under; see `QuietMachine.training_slice`."""

SLICE_SECONDS = 0.3


@contextmanager
def breathing(slices: Slices, seconds: float = SLICE_SECONDS) -> Iterator[Callable[[], None]]:
    """Run work under slices: what it is given is called now and then, and lets a measurement come in between.

    Args:
        slices: Makes a slice.
        seconds: How long one slice lasts, at least.
    """
    with ExitStack() as held:
        held.enter_context(slices())
        began_s = time.monotonic()

        def breathe() -> None:
            nonlocal began_s
            if time.monotonic() - began_s >= seconds:
                held.close()
                held.enter_context(slices())
                began_s = time.monotonic()

        yield breathe


def in_slices(items: Iterable[T], slices: Slices, seconds: float = SLICE_SECONDS) -> Iterator[T]:
    """Yield items that are costly to make. They are made under slices, and used outside of them.

    Args:
        items: Made one by one as they are asked for.
        slices: Makes a slice.
        seconds: How long one slice lasts, at least.
    """
    rest, more = iter(items), True
    while more:
        made: list[T] = []
        with slices():
            ends_s = time.monotonic() + seconds
            while more and not (made and time.monotonic() >= ends_s):
                try:
                    made.append(next(rest))
                except StopIteration:
                    more = False
        yield from made
