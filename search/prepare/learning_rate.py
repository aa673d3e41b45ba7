"""The learning rate that students of a study are taught with where nothing else decides, found by short trainings.

AdamW moves each weight by about its rate in each step, whatever the gradient. What that does to a trained network hangs
on how large its weights are and on how many steps there are, and too much of it ends in a network that answers by
chance: half of an encoder of six layers had an accuracy of 0.82 after 175 steps at 0.001, and 0.26 at 0.003. SGD moves
weights as far as their gradients ask for, and batch norms make that safe: its usual rate is not tried here.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from ...compression.recover import Stopped
from ...compression.student import make_student
from ...errors import AutoCompressError, MetricError, TrialFailed, one_line
from ...evaluators.microbenchmarks import Say
from ...files import read_object, write_json
from ...remarks import remark
from ...spaces.axes.bits import FULL
from ...spaces.space import Space
from ...spaces.spec import ADAMW_PART, StudentSpec
from ...temporary import temporary_folder
from ..evaluate.checkpoints import look_at
from ..evaluate.context import EvaluationContext
from ..propose.by_hand import uniform

KEPT = "learning_rate.json"
"""What a study keeps of it."""
STEPS = 40
"""Of each training at most: what too large a rate does shows by then."""
FACTOR = 3.0
"""Between the rates that are tried."""
CAREFUL_RATE = 0.00667
"""As SGD takes it. It is tried first, and taken where there is no time to try."""
LEAST_RATE, MOST_RATE = 8e-5, 0.0201
WIDTH = 0.5
"""Of the student that is taught: one that lost nothing would be best without any step."""
EXAMPLES = 1000
"""Of the validation split, by which rates are told apart."""
TIME_SHARE, MOST_S = 0.05, 120.0
"""Of the time of a search, what the trainings may take at most, and in seconds: steps of large networks take some."""


def study_rate(
    context: EvaluationContext,
    space: Space,
    begun: bool,
    say: Say,
    left_s: float | None = None,
) -> float:
    """Return the learning rate of a study whose space would have `space.context.recovery`, as SGD takes it.

    It is found once, and kept in the study's folder; a study that was begun without one goes on as it began.

    Args:
        context: What this process has of the study.
        space: The study's space with any rate.
        begun: Whether the study has trials.
        say: Takes a line about what was found.
        left_s: Seconds of the search, None without an end.

    Raises:
        StorageError: The disk is full, or a file in the study's folder cannot be read.
    """
    default = space.context.recovery
    path = context.folder / KEPT
    if (kept := _kept(path)) is not None:
        return kept
    if begun or default.optimizer != "adamw":
        return default.learning_rate
    end_s = time.monotonic() + (MOST_S if left_s is None else min(MOST_S, TIME_SHARE * left_s))
    spec = space.spec(uniform(space, WIDTH, FULL))
    student = StudentSpec(spec.channels, recovery=spec.recovery or default)

    def quality(rate: float) -> float | None:
        return _quality(context, student, rate, end_s)

    qualities = try_rates(quality) if student.channels else {}
    found = max(qualities, key=lambda rate: qualities[rate], default=CAREFUL_RATE)
    metric = context.task.metric.label
    each = ", ".join(f"{metric.text(q) if math.isfinite(q) else 'none'} at {_own(r)}" for r, q in qualities.items())
    why = f"{metric.name} after short trainings: {each}" if each else "no other one was tried"
    say(f"students are taught by AdamW at a learning rate of {_own(found)}; {why}")
    if (kept := _kept(path)) is not None:
        return kept  # another search of this study was faster: all of them teach at one rate
    if not context.stop():
        tried = [[rate, q if math.isfinite(q) else None] for rate, q in qualities.items()]
        write_json(path, {"learning_rate": found, "tried": tried})
    return found


def _kept(path: Path) -> float | None:
    kept = (read_object(path) or {}).get("learning_rate")
    return kept if isinstance(kept, float) else None


def _own(rate: float) -> str:
    """Return the rate that AdamW really takes."""
    return f"{ADAMW_PART * rate:.2g}"


def try_rates(quality: Callable[[float], float | None]) -> dict[float, float]:
    """Return the quality of the rates that were tried, up to the best one and one beyond; none where none was in time.

    Args:
        quality: Tries a rate; None where time was over.
    """
    first = quality(CAREFUL_RATE)
    found = {} if first is None else {CAREFUL_RATE: first}
    for factor in (FACTOR, 1 / FACTOR):
        rate = _rounded(CAREFUL_RATE * factor)
        while found and LEAST_RATE <= rate <= MOST_RATE:
            reached = quality(rate)
            if reached is None:
                return found
            found[rate] = reached
            if reached < max(found.values()):
                break
            rate = _rounded(rate * factor)
        if max(found, key=lambda rate: found[rate], default=0.0) > CAREFUL_RATE:
            break
    return found


def _rounded(rate: float) -> float:
    return float(f"{rate:.3g}")


def _quality(context: EvaluationContext, spec: StudentSpec, rate: float, end_s: float) -> float | None:
    """Return what a student has learned after a few steps at a rate; None where time was over before."""

    def stop() -> bool:
        return context.stop() or time.monotonic() > end_s

    assert spec.recovery is not None
    spec, recoverer = replace(spec, recovery=replace(spec.recovery, learning_rate=rate)), context.recoverer
    epoch_steps = recoverer.data.epoch_plan(0, recoverer.schedule.batch_size, recoverer.schedule.seed).steps
    steps = min(STEPS, recoverer.schedule.steps(recoverer.data))
    short = replace(recoverer, schedule=replace(recoverer.schedule, epochs=steps / epoch_steps, rungs=(1.0,)))
    try:
        student = make_student(context.parent, spec)
        with temporary_folder() as folder:
            fake = short.recover(student, spec, 0, folder / "student.pt", stop)
        return look_at(context, student.module, fake, EXAMPLES)
    except Stopped:
        return None
    except (TrialFailed, MetricError):  # too large a rate makes one that answers the same to all, or no numbers
        return -math.inf
    except (AutoCompressError, OSError):
        raise
    except Exception as fault:  # of this student alone, as it would be of a trial
        remark(f"a student to try a learning rate with cannot be taught: {type(fault).__name__}: {one_line(fault)}")
        return -math.inf
