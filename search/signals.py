"""Signals that end a search: Ctrl-C after the step under way, those of schedulers and closed terminals in seconds."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Iterator
from typing import Any

from .pace import Stop

GRACE_S = 5.0
"""Seconds after which a step that does not end by itself is broken off. Schedulers kill after ten."""
FATAL = ("SIGTERM", "SIGHUP")
ALARM: int | None = getattr(signal, "SIGALRM", None)


class BrokenOff(KeyboardInterrupt):
    """A step had no time left to come to its end. It can be done again."""


@contextlib.contextmanager
def ended_by_signals(stop: Stop, told: bool = True) -> Iterator[None]:
    """Meanwhile, let signals ask the search to end.

    Ctrl-C asks once, and ends it at once the second time. SIGTERM and SIGHUP ask too, and break off what has not ended
    after `GRACE_S`. A signal that is ignored, as under nohup, stays so. Only the main thread gets signals: elsewhere
    this does nothing.

    Args:
        stop: Asked to end.
        told: Whether a line on standard error says so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupted(_number: int, _frame: Any) -> None:
        if stop.asked.is_set():
            raise KeyboardInterrupt
        stop.asked.set()
        _say(told, "ending after this step (Ctrl-C again ends at once); finished trials are kept")

    def terminated(number: int, _frame: Any) -> None:
        if stop.hurried.is_set():
            return
        stop.hurried.set()
        stop.asked.set()
        _say(told, f"ending now ({signal.Signals(number).name}); finished trials and what students learned are kept")
        if sys.platform != "win32":
            before[signal.SIGALRM] = signal.signal(signal.SIGALRM, _broken_off)
            signal.setitimer(signal.ITIMER_REAL, GRACE_S)

    before: dict[int, Any] = {signal.SIGINT: signal.signal(signal.SIGINT, interrupted)}
    for name in FATAL:
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) is signal.SIG_DFL:
            before[number] = signal.signal(number, terminated)
    try:
        yield
    finally:
        # a signal may come meanwhile, and set the alarm: that is taken back last
        for number in (n for n in list(before) if n != ALARM):
            _restore(number, before[number])
        let_come_to_its_end()
        if ALARM in before:
            _restore(ALARM, before[ALARM])


def _restore(number: int, handler: Any) -> None:
    if handler is not None:  # one that was not set from Python cannot be set again from there
        signal.signal(number, handler)


def let_come_to_its_end() -> None:
    """Break nothing off any more: what is left takes a moment."""
    if sys.platform != "win32":
        signal.setitimer(signal.ITIMER_REAL, 0)


def _broken_off(_number: int, _frame: Any) -> None:
    raise BrokenOff


def _say(told: bool, line: str) -> None:
    # past Python's own buffers, which the signal may have come in the middle of; a closed terminal takes nothing
    if told:
        with contextlib.suppress(OSError):
            os.write(2, f"\n{line}\n".encode())
