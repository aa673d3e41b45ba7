"""What the teacher's file takes, as all that was seen of it says."""

from __future__ import annotations

import math
from dataclasses import replace

from ...evaluators.latency import Calibration
from ...evaluators.measurement import plain_figure
from ...evaluators.microbenchmarks import Say
from ...evaluators.timing.moments import drift_of_run, remember_drift
from ...files import write_json
from ...spaces.plain import to_plain
from ..store.layout import calibration_path
from .context import EvaluationContext

TOLD = 0.03
"""A change of the teacher's latency that is worth a line."""


def recalibrated(context: EvaluationContext, say: Say = lambda line: None) -> EvaluationContext:
    """Return a context whose milliseconds hang on all that was seen of the teacher, in this run and before.

    It is kept in the study's folder, where every reader of trials takes their scale from.

    Args:
        context: What this process has of the study.
        say: Takes a line where the teacher takes another time than was said before.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    sessions = {}
    for name, session in context.sessions.items():
        now = session.meter.seen()
        if now != session.calibration:
            write_json(calibration_path(context.folder, name), to_plain(now))
        where = f" on {name}" if len(context.sessions) > 1 else ""
        for line in changes(session.calibration, now):
            say(f"{line}{where}")
        sessions[name] = replace(session, meter=replace(session.meter, calibration=now))
    return replace(context, sessions=sessions)


def changes(before: Calibration, now: Calibration) -> list[str]:
    """Return what is to be told where a calibration has become another one."""
    found = []
    if abs(math.log(now.p50_ms / before.p50_ms)) > TOLD:
        p50, low, high, was = map(plain_figure, (now.p50_ms, now.low_ms, now.high_ms, before.p50_ms))
        found.append(
            f"recalibrated: the teacher takes {p50} ms ({low} to {high}) by "
            f"{now.moments} moments, not {was} ms; all milliseconds of the study follow"
        )
    if before.disturbed and not now.disturbed:
        found.append("the teacher was seen undisturbed since: latencies are no longer marked for its calibration")
    elif now.disturbed and not before.disturbed:
        found.append("other work ran at most moments at which the teacher was seen: latencies are marked as disturbed")
    return found


def keep_drift(context: EvaluationContext, since_s: float) -> None:
    """Add how much the teacher's time differed in this run, and from runs before, to what is known of the machine.

    Args:
        context: What this process has of the study.
        since_s: When the run began, in seconds since 1970.
    """
    for session in context.sessions.values():
        watch = session.meter.watch
        if watch is not None and (seen := drift_of_run(watch.read(), since_s)).freedom > 0:
            remember_drift(dict(session.calibration.conditions), seen)
