"""The report of a running search, written anew when a trial has ended."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from ....errors import one_line
from ....evaluators.timing.quiet import QuietMachine
from ....spaces.surrogates import Surrogates
from ..front import Front
from .build import FILE, write_report
from .predictions import PredictionsKeeper
from .record import record_of

LEAST_PAUSE_S = 5.0
"""Seconds between two reports of a running search, at least."""
SHARE = 0.02
"""Of the time of a search, what its reports may take at most."""


class ReportKeeper:
    """Keeps the report in a study's folder fresh.

    Whatever goes wrong is said in one line, once: a report never ends a search.
    """

    def __init__(
        self, folder: Path, surrogates: Surrogates, devices: tuple[str, ...], say: Callable[[str], None]
    ) -> None:
        """Write nothing yet.

        Args:
            folder: The study's folder.
            surrogates: What predicts.
            devices: Where latencies are measured: no report is worked out while one is.
            say: Takes a line about what went wrong.
        """
        self._folder, self._say = folder, say
        self._surrogates = surrogates
        self._predictions: PredictionsKeeper | None = None
        self._quiet = [QuietMachine(device) for device in sorted(set(devices))]
        self._ended, self._not_before_s, self._failed = -1, 0.0, False

    def keep(self, front: Front, final: bool = False) -> None:
        """Write the report, unless nothing has ended since the last one, or that was a moment ago.

        Args:
            front: As it is now.
            final: Whether the search is over: it is written whatever was before, and does not load itself again.
        """
        now_s = time.monotonic()
        if not final and (len(front.trials) == self._ended or now_s < self._not_before_s):
            return
        self._ended = len(front.trials)
        try:
            if self._predictions is None:
                self._predictions = PredictionsKeeper(self._folder, self._surrogates)
            with ExitStack() as quiet:
                for device in self._quiet:
                    quiet.enter_context(device.training_slice())
                begun_s = time.monotonic()
                self._predictions.keep(front.trials)
                write_report(record_of(front), self._folder / FILE, reload=not final)
                took_s = time.monotonic() - begun_s
            self._not_before_s = time.monotonic() + max(LEAST_PAUSE_S, took_s / SHARE)
        except Exception as error:  # a report is a by-product: nothing that happens to it may end a search
            if not self._failed:
                self._failed = True
                self._say(f"the report could not be written ({one_line(error)}); the search goes on")
