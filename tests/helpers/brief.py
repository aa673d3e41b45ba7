"""Measurements that are as real as those of users, and fewer: one short process where a study takes three.

As a program, this file is `python -m autocompress` or a script of Python with such measurements: `brief_command`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, partialmethod
from pathlib import Path
from typing import Any

SECONDS = 0.1
"""Of timing, for each file in a process. One that other work disturbed is not run again."""


@contextmanager
def brief() -> Iterator[None]:
    """Calibrate once in one process, and measure the front in one more.

    How many processes a figure takes, for how long, and what they say together, is held by the tests of timing.
    """
    import pytest

    with pytest.MonkeyPatch.context() as patch:
        _shorten(patch.setattr)
        yield


def brief_command(*words: object) -> list[str]:
    """Return a command that does what `python -m autocompress` does with these words, or runs a script, briefly.

    Worker processes that it starts are brief too.
    """
    return [sys.executable, __file__, *map(str, words)]


def _shorten(patch: Callable[[Any, str, Any], None]) -> None:
    from autocompress.evaluators.latency import LatencyMeter
    from autocompress.evaluators.timing import side_by_side
    from autocompress.search import export
    from autocompress.search.bundle import rebuild
    from autocompress.search.evaluate import target_session
    from autocompress.search.report import confirm

    beside = LatencyMeter._beside

    def shortly(meter: LatencyMeter, paths: Any, seconds: float, calls: int = 0) -> side_by_side.SideBySide:
        return beside(meter, paths, min(seconds, SECONDS * (len(paths) + 1)), calls)

    patch(target_session, "CALIBRATIONS", 1)
    patch(side_by_side, "TIMES_AGAIN", 0)
    patch(LatencyMeter, "_beside", shortly)
    patch(LatencyMeter, "calibrate", partialmethod(LatencyMeter.calibrate, processes=1))
    patch(confirm, "PROCESSES", 1)
    patch(rebuild, "PROCESSES", 1)
    patch(export, "bench", partial(export.bench, processes=1, max_seconds=0.3))


def _run(words: list[str]) -> None:
    if words[0].endswith(".py"):
        import runpy

        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).absolute().parent))
        runpy.run_path(words[0], run_name="__main__")
    else:
        from autocompress.cli import main

        main.main(words, prog_name="autocompress")


if __name__ in ("__main__", "__mp_main__"):  # the latter in worker processes
    sys.path[:] = [path for path in sys.path if path != str(Path(__file__).parent)]
    _shorten(setattr)
if __name__ == "__main__":
    _run(sys.argv[1:])
