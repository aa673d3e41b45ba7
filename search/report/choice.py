"""What was chosen of a front, why, and what the next ones would be, in words."""

from __future__ import annotations

from dataclasses import replace

from ...evaluators.latency import is_faster
from ...evaluators.measurement import ms_text
from ..trial import Origin
from .entry import Entry
from .picked import Picked, line, may_miss
from .policy import choose, in_words

NEXT = 2
"""Models that are named after the one that was chosen."""


def choice_lines(picked: Picked) -> list[str]:
    """Return what was chosen, why, and what would be chosen without it, a line each."""
    front, entry, limits = picked.front, picked.entry, picked.limits
    lines = [f"chose {line(entry)}", *_anew(picked)]
    if limits is None:
        asked = ", ".join(front.limits.in_words())
        verdict = "it meets" if front.meets(entry, front.limits) else "it does not meet"
        return [*lines, "because it was named" + (f"; {verdict} what the study asks: {asked}" if asked else "")]
    count = len(front.under(limits))
    asked = ", ".join(limits.in_words())
    models = "the only model that meets" if count == 1 else f"of {count} models that meet"
    lines.append(f"{f'{models} {asked}' if asked else f'of all {count} models'}, it is the {_words(picked)}")
    return lines + [f"next  {line(other)}{_against(other, entry)}" for other in _ranked(picked)[1:]]


def _anew(picked: Picked) -> list[str]:
    """Say what is reported of the model's latency, since it was chosen for having been measured fast."""
    confirmed = picked.entry.confirmed
    if confirmed is None or not confirmed.anew:
        return ["its latency had a say in the choice: `autocompress bench` measures it anew"] if picked.limits else []
    latency = confirmed.anew[picked.entry.target]
    miss = may_miss(picked.entry, picked.limits or picked.front.limits)
    return [f"measured anew after it was chosen: p50 {ms_text(latency.p50_ms)} ms ({latency.interval_text}){miss}"]


def _words(picked: Picked) -> str:
    if picked.policy is not None:
        return in_words(picked.front, picked.policy, picked.limits or picked.front.limits)
    limits = picked.limits
    if limits is not None and limits.min_accuracy is not None and not limits.budgets:
        return "fastest model"
    best = max(picked.front.under(picked.limits or picked.front.limits), key=lambda e: e.quality)
    if best.number != picked.entry.number:
        name, text = best.metric.name, best.metric_text
        return f"fastest model whose {name} is within a standard error of the best ({text} of trial {best.number})"
    return f"model with the best {picked.entry.metric.name}"


def _ranked(picked: Picked) -> list[Entry]:
    """Return the model that was chosen, then what would be chosen without those before."""
    assert picked.limits is not None
    if picked.policy is None:
        return picked.front.under(picked.limits)[: 1 + NEXT]
    found: list[Entry] = []
    front = picked.front
    for _ in range(1 + NEXT):
        entry = choose(front, picked.policy, picked.limits)
        if entry is None:
            break
        found.append(entry)
        if entry.trial.origin is Origin.TEACHER:
            break  # without the teacher there is nothing that a policy could compare with
        front = replace(front, trials=tuple(trial for trial in front.trials if trial.number != entry.number))
    return found


def _against(other: Entry, entry: Entry) -> str:
    """Say where two models cannot be told apart in latency, since their intervals overlap."""
    if other.target == entry.target and is_faster(other.reported_latency, entry.reported_latency) == "tie":
        return "; its latency cannot be told apart"
    return ""
