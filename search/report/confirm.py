"""The end of a search: the front is measured again, longer and side by side, and scored once on the test split."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from ...errors import MeasurementError, MetricError, one_line
from ...evaluators.layer_shares import seconds_to_profile
from ...evaluators.measurement import Latency
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
"""What timing one file once more takes, at least and until it is precise, beside loading it: estimates for the time
that is kept back."""
Say = Callable[[str], None]


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
    latencies = [latency for e in waiting for latency in e.latencies.values()]
    least_s = other_s + _timing_s(latencies)
    return least_s, least_s + (PRECISE_SECONDS_PER_FILE - SECONDS_PER_FILE) * len(latencies)


def is_open(entry: Entry) -> bool:
    """Tell whether a model is still to be confirmed, or was measured in fewer processes than that takes.

    It was so for want of time, or because its study was measured anew since.
    """
    looked = entry.confirmed
    return looked is None or any(latency.processes < PROCESSES for latency in looked.latencies.values())


def _timing_s(latencies: Iterable[Latency]) -> float:
    return sum(SECONDS_PER_FILE + PROCESSES * latency.load_ms / 1000 for latency in latencies)


def _scoring_s(entry: Entry, examples: int, context: EvaluationContext) -> float:
    batches = {name: examples / session.target.batch for name, session in context.sessions.items()}
    return sum(batches[name] * latency.p50_ms / 1000 for name, latency in entry.latencies.items())


def _profiling_s(entry: Entry, context: EvaluationContext) -> float:
    able = {name for name, session in context.sessions.items() if isinstance(session.runtime, ProfilingRuntime)}
    return sum(seconds_to_profile(latency) for name, latency in entry.latencies.items() if name in able)


def confirm(
    context: EvaluationContext,
    front: Front,
    say: Say = lambda line: None,
    end_s: float | None = None,
) -> Front:
    """Measure the candidates of a front again, longer, and score them on the test split.

    A file that was scored on the test split before is not scored again. The longer measurement may change who is on
    the front; what comes up then is confirmed too, until everything that is shown is. Then the best model under the
    limits is measured anew, for a model is chosen because it was measured fast: what is reported of it is that. The
    looks are kept in `confirmed.json`. A model that cannot be measured now is said, and left to the next run.

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
    tried, lost = set[int](), set[int]()
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
                left_s = math.inf
                if end_s is not None:
                    # what more precision takes must leave time for scoring, and for profiles
                    left_s = end_s - time.monotonic() - sum(_scoring_s(e, examples, context) for e in here[start:])
                    left_s = (left_s - sum(_profiling_s(e, context) for e in waiting)) * len(part) / files
                looks, failed = _look_again(context, session, front, part, known, left_s, say)
                files -= len(part)
                known, undefined = {**known, **looks}, {**undefined, **failed}
                lost |= {e.number for e in part} - looks.keys()
                write_looks(context.folder, known)
        found = {e.number: known[e.number].confirmed for e in waiting if e.number in known}
        front = front.with_confirmed({n: look for n, look in found.items() if look is not None})
        front = _told(front, intact(front, by_weight), say)
    front = _measured_anew(context, front, known, say, end_s)
    for number, reason in undefined.items():
        say(f"trial {number} has no test score: {reason}")
    if left := [e for e in by_weight(front) if is_open(e) and e.number not in lost]:
        say(f"no time was left to confirm {len(left)} of {len(candidates(front))} models: the next run does")
    return front


def _told(before: Front, now: Front, say: Say) -> Front:
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
    say: Say,
    end_s: float | None,
) -> Front:
    """Measure the best model under the limits once more, and keep that for reports."""
    best = next(iter(front.fitting), None)
    looks = known.get(best.number) if best is not None else None
    if best is None or looks is None or looks.confirmed is None or looks.confirmed.anew:
        return front
    ends_s = math.inf if end_s is None else end_s - _profiling_s(best, context)
    if time.monotonic() + _timing_s(best.latencies.values()) > ends_s:
        return front
    say(f"measuring trial {best.number} anew, which was chosen")
    files = dict(looks.files)
    for name, path in front.paths(best).items():
        meter, percentile, left_s = context.sessions[name].meter, front.limits.percentile, ends_s - time.monotonic()
        try:
            latency = meter.measure([path], PROCESSES, limit_seconds=left_s, percentile=percentile)[0]
        except MeasurementError as error:
            say(f"trial {best.number} could not be measured anew: {one_line(error)}")
            return front
        files[name] = replace(files[name], anew=latency)
    looks = replace(looks, files=files)
    whole = {**known, best.number: looks}
    write_looks(context.folder, whole)
    confirmed = looks.confirmed
    return front if confirmed is None else front.with_confirmed({best.number: confirmed})


def _in_time(
    waiting: Sequence[Entry], examples: int, context: EvaluationContext, end_s: float | None
) -> Iterator[Entry]:
    """Yield those of these that can be confirmed before the end, the first first; a slow one keeps no other waiting."""
    left_s = math.inf if end_s is None else end_s - time.monotonic()
    for entry in waiting:
        takes_s = _scoring_s(entry, examples, context) + _timing_s(entry.latencies.values())
        if takes_s <= left_s:
            left_s -= takes_s
            yield entry


def _look_again(
    context: EvaluationContext,
    session: TargetSession,
    front: Front,
    part: Sequence[Entry],
    known: Mapping[int, LongLooks],
    left_s: float,
    say: Say,
) -> tuple[dict[int, LongLooks], dict[int, str]]:
    """Measure the files of these entries for one target, within seconds that are left for that.

    Returns:
        The looks, with those at other targets, of all that could be measured and scored; and the trials that the metric
        is not defined for on the test split.
    """
    found: dict[int, LongLooks] = {}
    undefined: dict[int, str] = {}
    latencies = _side_by_side(session, front, part, left_s, say)
    for entry in (entry for entry in part if entry.number in latencies):
        before = known.get(entry.number, LongLooks(tuple(entry.trial.measured)))
        old, file = before.files.get(session.name), front.paths(entry)[session.name]
        sha256 = digest(file)
        try:
            scored = old is not None and old.sha256 == sha256
            accuracy = old.test_accuracy if scored and old else file_accuracy(context, session, file, context.task.test)
        except MetricError as error:
            undefined[entry.number], accuracy = str(error), None
        except MeasurementError as error:
            say(f"trial {entry.number} could not be scored on the test split: {one_line(error)}")
            continue
        look = LongLook(sha256, accuracy, latencies[entry.number])
        found[entry.number] = LongLooks(before.targets, {**before.files, session.name: look})
    return found, undefined


def _side_by_side(
    session: TargetSession, front: Front, part: Sequence[Entry], left_s: float, say: Say
) -> dict[int, Latency]:
    """Measure files in the same processes; one by one where that fails, as six large models may not fit into memory.

    Args:
        session: With the target that the files are for.
        front: The front.
        part: Whose files.
        left_s: Seconds that this may take.
        say: Takes a line about what could not be measured.

    Returns:
        The latencies by trial number, of all that could be measured.
    """
    meter, percentile, begun_s = session.meter, front.limits.percentile, time.monotonic()
    files = [front.paths(entry)[session.name] for entry in part]
    # the usual processes are part of what was found to fit, whatever is left for precision
    limit_s = max(_timing_s([e.latencies[session.name] for e in part]), min(LIMIT_SECONDS, left_s))
    try:
        found = meter.measure(files, PROCESSES, until=meter.precision, limit_seconds=limit_s, percentile=percentile)
        processes, took_s = found[0].processes, time.monotonic() - begun_s
        if processes < PROCESSES and took_s * (1 + PROCESSES / processes) <= left_s:
            # slower to load than was known: without more precision, but with the usual processes
            found = meter.measure(files, PROCESSES, percentile=percentile)
    except MeasurementError as error:
        if len(part) == 1:
            say(f"trial {part[0].number} could not be measured again: {one_line(error)}")
            return {}
        say(f"{len(part)} models could not be measured side by side, and are one by one: {one_line(error)}")
        each_s = (left_s - (time.monotonic() - begun_s)) / len(part)
        alone = (_side_by_side(session, front, [entry], each_s, say) for entry in part)
        return {number: latency for one in alone for number, latency in one.items()}
    return {entry.number: latency for entry, latency in zip(part, found, strict=True)}
