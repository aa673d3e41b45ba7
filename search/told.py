"""What a search tells its user at its beginning and at its end."""

from __future__ import annotations

from ..compression.recover import Stopped
from ..errors import AutoCompressError, ConditionsChanged, ExportError, MeasurementError, TrialFailed, one_line
from ..evaluators.microbenchmarks import Say
from .prepare.forecast import forecast
from .study import OpenStudy


def changed(error: ConditionsChanged) -> str:
    """Return why a search ended early by itself."""
    return f"{error}: --remeasure does so for all students. Finished trials are kept, and no trial has failed by it"


def tell_forecast(study: OpenStudy, left_s: float | None, say: Say) -> None:
    """Say what a student will take, and how many there is time for."""
    search = study.settings.search
    try:
        recovery = study.space.context.recovery
        found = forecast(study.context, study.store.ended(), study.settings.target.any_of, recovery)
    except Stopped:
        return
    except (TrialFailed, ExportError, MeasurementError) as failure:
        say(f"no forecast: {one_line(failure)}")
        return
    except (AutoCompressError, OSError):
        raise
    except Exception as fault:  # such as no memory for a student of the teacher's size: smaller ones may have it
        say(f"no forecast: {type(fault).__name__}: {one_line(fault)}")
        return
    for line in found.lines(left_s, search.trials, search.workers):
        say(line)


def nothing_tried(spent_s: float, minutes: float | None) -> str:
    """Return why there is no trial.

    Args:
        spent_s: Seconds until the first would have begun.
        minutes: Of the search; None where they did not end it.
    """
    given = "" if minutes is None else f" of the {60 * minutes:.0f} s given"
    further = "" if minutes is None else ", and more --minutes do"
    return (
        f"{spent_s:.0f} s{given} went into opening the study and what is learned before the first trial: nothing could "
        f"be tried; what was measured is kept, so the same command gets further{further}"
    )
