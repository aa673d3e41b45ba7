"""The end of a search: the front is measured again, longer and side by side, and scored once on the test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...errors import MetricError
from ...evaluators.layer_shares import seconds_to_profile
from ...evaluators.runtimes.profiling import ProfilingRuntime
from ...files import digest
from ..evaluate.build import file_accuracy
from ..evaluate.context import EvaluationContext
from ..evaluate.target_session import TargetSession
from .by_hand import shown_by_hand
from .entry import Entry
from .front import Front
from .intact import intact, told
from .looks import LongLook, LongLooks, read_looks, write_looks

PROCESSES = 3
SIDE_BY_SIDE = 6
"""Files in one process: more would outgrow the caches that a deployed model has to itself."""
LIMIT_SECONDS = 90.0
"""After these, files measured side by side are not measured in further processes for the sake of precision."""
SECONDS_PER_FILE, PRECISE_SECONDS_PER_FILE = 3.5, 15.0
"""What timing one file once more takes, at least and until it is precise: estimates for the time that is kept back."""


def candidates(front: Front) -> list[Entry]:
    """Return the front, what a user would have done by hand, and the best model under the limits, fastest first."""
    return sorted(by_weight(front), key=lambda e: e.latency.p50_ms)


def by_weight(front: Front) -> list[Entry]:
    """Return the same in the order in which they are confirmed where time is short.

    The best model under the limits comes first, then the teacher, the front from its most accurate model on, and what
    one would have done by hand.
    """
    teacher = (front.teacher,) if front.teacher else ()
    accurate_first = sorted(front.best, key=lambda e: -e.quality)
    chosen = (*front.fitting[:1], *teacher, *accurate_first, *shown_by_hand(front))
    return list({e.number: e for e in chosen}.values())


def seconds_needed(context: EvaluationContext, front: Front) -> tuple[float, float]:
    """Estimate the seconds that `confirm` would take now, with the profiles that follow.

    Returns:
        The seconds at least, and those until all is precise.
    """
    waiting = [e for e in candidates(front) if is_open(e)]
    other_s = sum(_scoring_s(e, len(context.task.test), context) + _profiling_s(e, context) for e in waiting)
    files = sum(len(e.latencies) for e in waiting)
    return other_s + SECONDS_PER_FILE * files, other_s + PRECISE_SECONDS_PER_FILE * files


def is_open(entry: Entry) -> bool:
    """Tell whether a model is still to be confirmed, or was so in fewer processes than usual for want of time."""
    looked = entry.confirmed
    return looked is None or any(latency.processes < PROCESSES for latency in looked.latencies.values())


def _scoring_s(entry: Entry, examples: int, context: EvaluationContext) -> float:
    batches = {name: examples / session.target.batch for name, session in context.sessions.items()}
    return sum(batches[name] * latency.p50_ms / 1000 for name, latency in entry.latencies.items())


def _profiling_s(entry: Entry, context: EvaluationContext) -> float:
    able = {name for name, session in context.sessions.items() if isinstance(session.runtime, ProfilingRuntime)}
    return sum(seconds_to_profile(latency) for name, latency in entry.latencies.items() if name in able)


def confirm(
    context: EvaluationContext,
    front: Front,
    say: Callable[[str], None] = lambda line: None,
    end_s: float | None = None,
) -> Front:
    """Measure the candidates of a front again, longer, and score them on the test split.

    A file that was scored on the test split before is not scored again. The longer measurement may change who is on
    the front; what comes up then is confirmed too, until everything that is shown is. Then the best model under the
    limits is measured anew, for a model is chosen because it was measured fast: what is reported of it is that. The
    looks are kept in `confirmed.json`.

    Args:
        context: What this process has of the study.
        front: The front.
        say: Takes a line about what is going on.
        end_s: When the search should be over, on the monotonic clock; None without an end. What does not fit is left
            to the next run, and said.

    Returns:
        The front with the longer looks.
    """
    front = _told(front, intact(front, by_weight), say)
    known = {n: look for n, look in read_looks(context.folder).items() if _is_kept(front, n, look)}
    undefined: dict[int, str] = {}
    tried: set[int] = set()
    examples = len(context.task.test)

    def open_entries() -> list[Entry]:
        return [e for e in by_weight(front) if is_open(e) and e.number not in tried]

    while True:
        waiting = sorted(_in_time(open_entries(), examples, context, end_s), key=lambda e: e.latency.p50_ms)
        if not waiting:
            break
        tried |= {e.number for e in waiting}
        files = sum(len(e.latencies) for e in waiting)
        for name, session in context.sessions.items():
            here = [e for e in waiting if name in e.trial.measured]
            for start in range(0, len(here), SIDE_BY_SIDE):
                part = here[start : start + SIDE_BY_SIDE]
                where = f" on {name}" if len(context.sessions) > 1 else ""
                say(f"confirming {start + 1} to {start + len(part)} of {len(here)} models{where}")
                limit_s = LIMIT_SECONDS
                if end_s is not None:
                    # what more precision takes must leave time for scoring, and for profiles
                    left_s = end_s - time.monotonic() - sum(_scoring_s(e, examples, context) for e in here[start:])
                    left_s -= sum(_profiling_s(e, context) for e in waiting)
                    # the usual processes are part of what was found to fit, whatever is left for precision
                    limit_s = min(limit_s, max(SECONDS_PER_FILE * len(part), left_s * len(part) / files))
                looks, failed = _look_again(context, session, front, part, known, limit_s)
                files -= len(part)
                known, undefined = {**known, **looks}, {**undefined, **failed}
                write_looks(context.folder, known)
        found = {e.number: known[e.number].confirmed for e in waiting if e.number in known}
        front = front.with_confirmed({n: look for n, look in found.items() if look is not None})
        front = _told(front, intact(front, by_weight), say)
    front = _measured_anew(context, front, known, say, end_s)
    for number, reason in undefined.items():
        say(f"trial {number} has no test score: {reason}")
    if left := [e for e in by_weight(front) if is_open(e)]:
        say(f"no time was left to confirm {len(left)} of {len(candidates(front))} models: the next run does")
    return front


def _told(before: Front, now: Front, say: Callable[[str], None]) -> Front:
    for line in told({n: reason for n, reason in now.changed.items() if n not in before.changed}):
        say(line)
    return now


def _is_kept(front: Front, number: int, look: LongLooks) -> bool:
    trial = next((trial for trial in front.trials if trial.number == number), None)
    return trial is not None and look.is_of(trial)


def _measured_anew(
    context: EvaluationContext,
    front: Front,
    known: Mapping[int, LongLooks],
    say: Callable[[str], None],
    end_s: float | None,
) -> Front:
    """Measure the best model under the limits once more, and keep that for reports."""
    best = next(iter(front.fitting), None)
    looks = known.get(best.number) if best is not None else None
    if best is None or looks is None or looks.confirmed is None or looks.confirmed.anew:
        return front
    seconds = SECONDS_PER_FILE * len(best.latencies) + _profiling_s(best, context)
    if end_s is not None and time.monotonic() + seconds > end_s:
        return front
    say(f"measuring trial {best.number} anew, which was chosen")
    files = dict(looks.files)
    for name, path in front.paths(best).items():
        session = context.sessions[name]
        percentile = front.limits.percentile
        latency = session.meter.measure([path], PROCESSES, limit_seconds=LIMIT_SECONDS, percentile=percentile)[0]
        files[name] = replace(files[name], anew=latency)
    looks = replace(looks, files=files)
    whole = {**known, best.number: looks}
    write_looks(context.folder, whole)
    confirmed = looks.confirmed
    return front if confirmed is None else front.with_confirmed({best.number: confirmed})


def _in_time(
    waiting: Sequence[Entry], examples: int, context: EvaluationContext, end_s: float | None
) -> Iterator[Entry]:
    """Yield the first of these that can be confirmed before the end."""
    left_s = math.inf if end_s is None else end_s - time.monotonic()
    for entry in waiting:
        left_s -= _scoring_s(entry, examples, context) + SECONDS_PER_FILE * len(entry.latencies)
        if left_s < 0:
            return
        yield entry


def _look_again(
    context: EvaluationContext,
    session: TargetSession,
    front: Front,
    part: Sequence[Entry],
    known: Mapping[int, LongLooks],
    limit_s: float,
) -> tuple[dict[int, LongLooks], dict[int, str]]:
    """Measure the files of these entries for one target.

    Returns:
        The looks, with those at other targets; and the trials that the metric is not defined for on the test split.
    """
    found: dict[int, LongLooks] = {}
    undefined: dict[int, str] = {}
    files = [front.paths(entry)[session.name] for entry in part]
    meter = session.meter
    latencies = meter.measure(
        files, PROCESSES, until=meter.precision, limit_seconds=limit_s, percentile=front.limits.percentile
    )
    for entry, file, latency in zip(part, files, latencies, strict=True):
        before = known.get(entry.number, LongLooks(tuple(entry.trial.measured)))
        old = before.files.get(session.name)
        sha256 = digest(file)
        try:
            scored = old is not None and old.sha256 == sha256
            accuracy = old.test_accuracy if scored and old else file_accuracy(context, session, file, context.task.test)
        except MetricError as error:
            undefined[entry.number], accuracy = str(error), None
        look = LongLook(sha256, accuracy, latency)
        found[entry.number] = LongLooks(before.targets, {**before.files, session.name: look})
    return found, undefined
