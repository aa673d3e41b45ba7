"""Measurements that are as real as those of users, and fewer: one process where a study takes three."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial, partialmethod

import pytest


@contextmanager
def brief() -> Iterator[None]:
    """Calibrate once in one process, and measure the front in one more, unless other work disturbed it.

    How many processes a figure takes, and what they say together, is held by the tests of timing; searches that tests
    start as processes of their own take as many as those of users.
    """
    from autocompress.evaluators.latency import LatencyMeter
    from autocompress.search import export
    from autocompress.search.bundle import rebuild
    from autocompress.search.evaluate import target_session
    from autocompress.search.report import confirm

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(target_session, "CALIBRATIONS", 1)
        patch.setattr(LatencyMeter, "calibrate", partialmethod(LatencyMeter.calibrate, processes=1, max_seconds=1.0))
        patch.setattr(confirm, "PROCESSES", 1)
        patch.setattr(rebuild, "PROCESSES", 1)
        patch.setattr(export, "bench", partial(export.bench, processes=1, max_seconds=0.3))
        yield
