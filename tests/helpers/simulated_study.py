"""Studies with trials that nobody ran: what reports are tried on, of any size, in a folder like that of a real one."""

from __future__ import annotations

import math
import random
from dataclasses import replace
from pathlib import Path

from synthetic_spaces import chain, surrogates_over

from autocompress.evaluators.latency_model import LatencyLearner
from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.files import write_bytes, write_json
from autocompress.search.report.front import Front
from autocompress.search.report.html.predictions import PredictionsKeeper
from autocompress.search.report.reading import read_front
from autocompress.search.report.space_report import describe_space
from autocompress.search.store.facts import TaskFacts, write_facts
from autocompress.search.store.layout import target_folder, trial_folder
from autocompress.search.store.settings import write_settings
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState
from autocompress.spaces.plan import Plan
from autocompress.spaces.space import Space
from autocompress.spaces.spec import StudentSpec
from autocompress.spaces.surrogates import Surrogates
from autocompress.studies.metric import ACCURACY, MetricLabel
from autocompress.studies.study_file import StudyFile

TARGET = "onnxruntime"
EXAMPLES = 5000
CONDITIONS = {"device_name": "a simulated CPU", "system": "Linux", "threads": 1, "batch": 1, "runtime": TARGET}


def latency(ms: float, teacher_ms: float, random_: random.Random, disturbed: bool = False) -> Latency:
    wide, ratio = random_.uniform(1.01, 1.05), ms / teacher_ms
    return Latency(
        ms, ms / wide, ms * wide, ms * 1.1, ms * 1.2, ms * 1.5, ms, ratio, ratio / 1.01, ratio * 1.01,
        500, 50, 3, disturbed, 1.0, 40 + ms, CONDITIONS,
    )  # fmt: skip


def simulated_trials(
    space: Space, count: int, seed: int = 0, better: float = 0.0, metric: MetricLabel = ACCURACY
) -> list[Trial]:
    """Trials of a search over a space: the teacher and what one does by hand first, then plans that get better.

    Args:
        space: The space.
        count: Of trials.
        seed: Of the random choices.
        better: Added to the accuracy of every student.
        metric: How the metric is shown; of one that is minimized, the error is kept.
    """
    random_ = random.Random(seed)
    surrogates = surrogates_over(space, 0, TARGET)
    predict = surrogates.latency[TARGET].predict_ms
    teacher_ms = predict(StudentSpec())
    uniform = [space.uniform({"channels": width, "bits": bits}) for width in (1.0, 0.5) for bits in (32, 8)]
    hand = [Plan(), *uniform[1:]]
    names = ("teacher", "teacher int8", "uniform 50%", "uniform 50% int8")
    found, clock_s = [], 0.0
    for number in range(1, count + 1):
        by_hand = number <= len(hand)
        plan = hand[number - 1] if by_hand else _drawn(space, random_, random_.random())
        spec = space.spec(plan)
        origin = (
            (Origin.TEACHER if number == 1 else Origin.BY_HAND)
            if by_hand
            else random_.choice([Origin.SEARCH, Origin.MOVE, Origin.CROSS, Origin.DESIGN])
        )
        label = (
            names[number - 1] if by_hand else {"move": f"move of {random_.randint(1, number)}"}.get(origin, str(origin))
        )
        ms = predict(spec) * random_.uniform(0.98, 1.02)
        draw = 1.0 if by_hand else random_.random()
        state = (
            TrialState.GATED if draw < 0.35
            else TrialState.FAILED if draw < 0.36 else TrialState.FINISHED
        )  # fmt: skip
        quality = _accuracy(space, spec, random_) + (0.0 if number == 1 else better)
        kept = quality if metric.maximized else -(1 - quality) * 10
        seconds = {
            "training": 0.0 if number == 1 else random_.uniform(3, 30),
            "measuring": random_.uniform(1, 4),
            "building": 1.0,
        }
        clock_s += sum(seconds.values())
        measured = {}
        if state is TrialState.FINISHED:
            size = int(4 * sum(layer.weights for layer in space.context.layers) * ms / teacher_ms) + 500
            file = Measurement(
                kept, latency(ms, teacher_ms, random_, random_.random() < 0.03), size, int(size * 0.9), {"Conv": 3}
            )
            measured = {TARGET: file}
        reason = {
            TrialState.GATED: f"{ms:.3g} ms or more, over the budget of 5 ms",
            TrialState.FAILED: "training diverged: the loss is not finite",
        }.get(state, "")
        rungs = () if state is TrialState.GATED else (kept - 0.02, kept)
        found.append(
            Trial(
                number, plan, spec, origin, label, state,
                gate={TARGET: latency(ms, teacher_ms, random_)}, gate_bytes=1000,
                first_look=None if by_hand else kept - random_.uniform(0.1, 0.4), rungs=rungs, measured=measured,
                reason=reason, seconds=seconds, ended_s=clock_s,
            )
        )  # fmt: skip
    return found


def write_study(
    folder: Path,
    count: int,
    layers: int = 12,
    seed: int = 0,
    better: float = 0.0,
    budget_ms: float | None = None,
    metric: MetricLabel = ACCURACY,
    labels: dict[int, str] | None = None,
    space: Space | None = None,
) -> Front:
    """Write a study's folder, and read its front.

    Args:
        folder: The study's folder, whose name is the study's.
        count: Of trials.
        layers: Of the network.
        seed: Of the random choices.
        better: Added to the accuracy of every student.
        budget_ms: What the study asks.
        metric: How the metric is shown.
        labels: Trial number -> what users see of its origin, in place of what it would be.
        space: Of the study, in place of one over a chain of `layers` convolutions.
    """
    space = space or chain([32, 48] * (layers // 2 - 1) + [64, 10])
    folder.mkdir(parents=True, exist_ok=True)
    settings = StudyFile(name="simulated").changed("budget", latency_ms=budget_ms)
    write_settings(folder, settings)
    write_facts(folder, TaskFacts(metric=metric, versions={"Python": "3.11", TARGET: "1.31"}))
    splits = {"train": 20000, "validation": EXAMPLES, "test": EXAMPLES}
    write_json(
        folder / "identity.json", {"teacher": "0" * 16, **{n: f"{c} items, {'0' * 16}" for n, c in splits.items()}}
    )
    write_json(folder / "space.json", describe_space(space, (), settings.target.targets(), {}))
    trials = simulated_trials(space, count, seed, better, metric)
    trials = [replace(t, label=(labels or {}).get(t.number, t.label)) for t in trials]
    teacher = trials[0].measured[TARGET].latency
    calibration = {
        "p50_ms": teacher.p50_ms,
        "low_ms": teacher.low_ms,
        "high_ms": teacher.high_ms,
        "floor_ms": teacher.p50_ms,
    }
    write_json(
        target_folder(folder, TARGET) / "calibration.json",
        {**calibration, "processes": 3, "disturbed": False, "fingerprint": "0", "conditions": CONDITIONS},
    )
    objectives = settings.search.objectives
    store = TrialStore(folder, settings.name, objectives)
    for trial in trials:
        values = None
        if trial.finished:
            file = trial.measured[TARGET]
            values = [file.accuracy, file.latency.p50_ms]
            write_bytes(trial_folder(folder, trial.number) / "model.onnx", b"no model")
        store.end(trial, values, space)
    finished = [t for t in trials if t.finished][:200]
    learner = LatencyLearner(space.context, [(t.spec, t.measured[TARGET].latency.p50_ms) for t in finished])
    sensitivity = surrogates_over(space, 0, TARGET).sensitivity
    PredictionsKeeper(folder, Surrogates(sensitivity, {TARGET: learner}, {TARGET: learner})).keep(trials)
    return read_front(folder)


def _drawn(space: Space, random_: random.Random, width: float) -> Plan:
    choices = {}
    for variable in space.variables:
        if variable.bounds is not None:
            choices[variable.name] = random_.uniform(variable.bounds.low, variable.bounds.high)
        else:
            last = len(variable.options) - 1
            choices[variable.name] = variable.options[min(last, max(0, round(last * (width + random_.gauss(0, 0.25)))))]
    return space.repair(Plan(choices))


def _accuracy(space: Space, spec: StudentSpec, random_: random.Random) -> float:
    gone = 0.0
    for group in space.context.groups:
        kept = spec.channels.get(group.name, group.channels) / group.channels
        gone += random.Random(group.name).uniform(0.2, 1.0) ** 3 * (1 - kept) ** 1.7
    few = sum(random.Random(name).uniform(0, 1) ** 4 for name in spec.bits) * 0.02
    taught = 0.0 if spec.recovery is None else 0.004 * math.log10(spec.recovery.learning_rate / 0.02) ** 2
    return min(1.0, max(0.0, 0.93 - 0.05 * gone - few - taught + random_.gauss(0, 0.002)))
