"""The sixth section of a report: how the search went."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ....studies.metric import MetricLabel
from ...stopping import Standing, growth
from ...trial import Trial, TrialState
from ..entry import Entry
from .forest import LEAST_EXPLAINED, Importance, PlanForest
from .record import Record
from .wording import duration, short

SHOWN = 12
"""Variables, and reasons, that are shown at most."""
PARALLEL = 7
"""Decision variables beside the metric and the latency in parallel coordinates."""
FEWEST_TO_RANK = 5


@dataclass(frozen=True)
class Progress:
    """How a search went, as text; what is drawn is in `progress_data`.

    Attributes:
        summary: Sentences.
        outcomes: How many trials ended in which way.
        seconds: Kind of work, time that it took, and part of all.
        ranks: What was predicted, of how many, and its rank correlation with what was measured.
        stopped: Where and why trials ended early: reason, and how many.
        failures: The same for those that failed, with their trials.
        importance: Sentences about the forest.
    """

    summary: tuple[str, ...]
    outcomes: tuple[tuple[str, int], ...]
    seconds: tuple[tuple[str, str, str], ...]
    ranks: tuple[tuple[str, str, str], ...]
    stopped: tuple[tuple[str, int], ...]
    failures: tuple[tuple[str, str], ...]
    importance: tuple[str, ...]


def progress(record: Record, standings: Sequence[Standing], found: Sequence[Importance]) -> Progress:
    """Return how a search went.

    Args:
        record: The study.
        standings: The front's volume as it grew.
        found: Which decisions mattered.
    """
    trials = record.front.trials
    return Progress(
        summary=tuple(_summary(trials, standings)),
        outcomes=tuple((state, count) for state, count in Counter(str(t.state) for t in trials).most_common()),
        seconds=_seconds(trials),
        ranks=tuple(_ranks(record)),
        stopped=_reasons(trials, (TrialState.GATED,)),
        failures=_failures(trials),
        importance=tuple(_importance(record.metric, found, len(record.front.entries))),
    )


def standings_of(record: Record) -> list[Standing]:
    """Return how the front's volume grew."""
    front = record.front
    trials = sorted(front.trials, key=lambda t: (t.ended_s or 0.0, t.number))
    return growth(trials, front.limits, front.objectives, record.examples.get("validation", 0))


def progress_data(record: Record, standings: Sequence[Standing], found: Sequence[Importance]) -> dict[str, Any]:
    """Return what the script draws: the volume over time and trials, importance, and the axes of parallel lines."""
    ended = sorted(record.front.trials, key=lambda t: (t.ended_s or 0.0, t.number))
    return {
        "volume": {
            "s": [short(s.at_s) for s in standings],
            "trials": [s.trials for s in standings],
            "value": [short(s.volume, 4) for s in standings],
            "low": [short(s.low, 4) for s in standings],
            "high": [short(s.high, 4) for s in standings],
            "gain": [int(s.gain) for s in standings],
        },
        "endS": short(max((t.ended_s or 0.0 for t in ended), default=0.0)),
        "ended": len(ended),
        "importance": [
            {
                "figure": record.metric.name if one.figure == "metric" else "latency",
                "variables": [
                    [name, short(share, 3)] for name, share in list(one.variables.items())[:SHOWN] if share > 0
                ],
                "axes": [[name, short(share, 3)] for name, share in one.axes.items() if share > 0],
            }
            for one in found
            if one.explained >= LEAST_EXPLAINED
        ],
        "parallel": _parallel(record, found),
    }


def _summary(trials: Sequence[Trial], standings: Sequence[Standing]) -> list[str]:
    end_s = max((t.ended_s or 0.0 for t in trials), default=0.0)
    count = "1 trial" if len(trials) == 1 else f"{len(trials):,} trials"
    found = [f"{count} ended in {duration(end_s)} of searching."]
    if standings:
        last = standings[-1]
        moved = [s for s in standings if s.gain]
        found.append(
            f"The front holds {last.volume:.3f} ({last.low:.3f} to {last.high:.3f}) of the volume that a model as "
            "good as the best would hold that takes no time."
        )
        if moved:
            found.append(f"It last grew beyond noise after {duration(moved[-1].at_s)}, with trial {moved[-1].number}.")
    return found


def _seconds(trials: Sequence[Trial]) -> tuple[tuple[str, str, str], ...]:
    spent: Counter[str] = Counter()
    for trial in trials:
        spent.update(trial.seconds)
    total = sum(spent.values()) or 1.0
    return tuple((kind, duration(s), f"{s / total:.0%}") for kind, s in spent.most_common())


def _ranks(record: Record) -> list[tuple[str, str, str]]:
    entries = record.front.entries
    found = []
    looked = [(e.trial.first_look, e.quality) for e in entries if e.trial.first_look is not None and e.trial.rungs]
    found.append(("the first look, before any training", *_ranked(looked)))
    rungs = [(e.trial.rungs[0], e.quality) for e in entries if len(e.trial.rungs) > 1]
    found.append(("the first rung", *_ranked(rungs)))
    gates = [
        (latency.p50_ms, e.latencies[name].p50_ms)
        for e in entries
        for name, latency in e.trial.gate.items()
        if name in e.latencies
    ]
    found.append(("latency at the gate, before training", *_ranked(gates)))
    for name, layers in record.predictions.layer_ms.items():
        pairs = [
            (sum(layers[str(e.number)]), e.latencies[name].p50_ms)
            for e in entries
            if str(e.number) in layers and name in e.latencies
        ]
        where = f" on {name}" if len(record.front.targets) > 1 else ""
        found.append((f"the latency model{where}", *_ranked(pairs)))
    return [row for row in found if row[1]]


def _ranked(pairs: Sequence[tuple[float, float]]) -> tuple[str, str]:
    if len(pairs) < FEWEST_TO_RANK:
        return "", ""
    a, b = zip(*pairs, strict=True)
    if len(set(a)) < 2 or len(set(b)) < 2:
        return "", ""
    from scipy.stats import spearmanr

    return str(len(pairs)), f"{float(spearmanr(a, b).statistic):.2f}"


def _reasons(trials: Sequence[Trial], states: Sequence[TrialState]) -> tuple[tuple[str, int], ...]:
    # figures in a reason differ from trial to trial; what it is about does not
    kinds: Counter[str] = Counter()
    for trial in trials:
        if trial.state in states:
            about = trial.reason.partition(", over")[2] or trial.reason
            kinds[f"{trial.state}: {'over' + about if ', over' in trial.reason else about or 'no reason kept'}"] += 1
    return tuple(kinds.most_common(SHOWN))


def _failures(trials: Sequence[Trial]) -> tuple[tuple[str, str], ...]:
    by: dict[str, list[int]] = {}
    for trial in trials:
        if trial.state is TrialState.FAILED:
            by.setdefault(trial.reason or "no reason kept", []).append(trial.number)
    most = sorted(by.items(), key=lambda item: -len(item[1]))[:SHOWN]
    return tuple(
        (reason, ", ".join(map(str, numbers[:8])) + (" ..." if len(numbers) > 8 else "")) for reason, numbers in most
    )


def _importance(metric: MetricLabel, found: Sequence[Importance], count: int) -> list[str]:
    if not found:
        many = (
            "1 finished model is too few" if count == 1 else f"{count} finished models are too few, or too much alike"
        )
        return [f"{many}{',' if count != 1 else ''} to tell which decisions mattered."]
    sentences = []
    for one in found:
        figure = metric.name if one.figure == "metric" else "latency"
        if one.explained < LEAST_EXPLAINED:
            sentences.append(f"What {figure} hangs on cannot be told from {count} models.")
        else:
            sentences.append(
                f"For {figure}, a forest over the plans of {count} models explains {one.explained:.0%} of the "
                "differences among those that were held out."
            )
    return sentences


def _parallel(record: Record, found: Sequence[Importance]) -> list[int]:
    """Return the places, among the study's variables, of those that matter most for the metric and the latency."""
    variables = record.space.get("variables", [])
    worth: Counter[str] = Counter()
    for one in found:
        worth.update({name: share * max(0.0, one.explained) for name, share in one.variables.items()})
    if not worth:
        seen: dict[str, set[Any]] = {}
        for entry in record.front.entries:
            for name, option in entry.trial.plan.choices.items():
                seen.setdefault(name, set()).add(option)
        worth = Counter({name: len(options) for name, options in seen.items()})
    names = {name for name, share in worth.most_common(PARALLEL) if share > 0}
    return [i for i, variable in enumerate(variables) if variable["name"] in names]


def seen_costs(forest: PlanForest | None, entries: Sequence[Entry]) -> dict[str, dict[str, float | int | None]]:
    """Return, for some models, what each decision was seen to cost of the metric: trial -> variable -> change."""
    if forest is None or forest.explained("metric") < LEAST_EXPLAINED:
        return {}
    costs = forest.costs([entry.trial.plan.choices for entry in entries])
    return {
        str(entry.number): {name: short(change, 3) for name, change in each.items()}
        for entry, each in zip(entries, costs, strict=True)
    }
