"""The end of a search: the front is measured again, longer and side by side, and scored once on the test split."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from ..evaluators.measurement import Latency
from .evaluate import file_accuracy
from .files import read_json, write_json
from .front import Confirmed, Entry, Front
from .workbench import Workbench

PROCESSES = 3
SIDE_BY_SIDE = 6
"""Files in one process: more would outgrow the caches that a deployed model has to itself."""
SECONDS_PER_FILE = 3.5
"""What timing one file once more takes, as an estimate for the time that is kept back."""


def candidates(front: Front) -> list[Entry]:
    """The front, what a user would have done by hand, and the best model under the budget."""
    chosen = {e.trial.number: e for e in front.best}
    chosen |= {e.trial.number: e for e in front.entries if e.trial.baseline}
    chosen |= {e.trial.number: e for e in front.fitting[:1]}
    return sorted(chosen.values(), key=lambda e: e.latency.p50_ms)


def seconds_needed(front: Front, examples: int, batch: int) -> float:
    """An estimate of what `confirm` would take now, for a test split of so many examples."""
    waiting = [e for e in candidates(front) if e.trial.number not in front.confirmed]
    return sum(SECONDS_PER_FILE + examples / batch * e.latency.p50_ms / 1000 for e in waiting)


def confirm(bench: Workbench, front: Front, say: Callable[[str], None] = lambda line: None) -> Front:
    """`front` with longer latencies and test accuracies of its candidates, kept in `confirmed.json`.

    A file that was scored on the test split before is not scored again. The longer measurement may change who is
    on the front; what comes up then is confirmed too.
    """
    path = bench.folder / "confirmed.json"
    known = read_json(path) or {}
    for _ in range(3):
        waiting = [e for e in candidates(front) if e.trial.number not in front.confirmed]
        if not waiting:
            break
        found: dict[int, Confirmed] = {}
        for start in range(0, len(waiting), SIDE_BY_SIDE):
            part = waiting[start : start + SIDE_BY_SIDE]
            say(f"confirming {start + 1} to {start + len(part)} of {len(waiting)} models")
            latencies = bench.meter.measure([front.path(e) for e in part], processes=PROCESSES)
            for entry, latency in zip(part, latencies, strict=True):
                digest = hashlib.sha256(front.path(entry).read_bytes()).hexdigest()
                old = known.get(str(entry.trial.number), {})
                scored = old.get("sha256") == digest
                accuracy = old["test_accuracy"] if scored else file_accuracy(bench, front.path(entry), bench.task.test)
                found[entry.trial.number] = Confirmed(latency, accuracy)
                known[str(entry.trial.number)] = {
                    "sha256": digest,
                    "test_accuracy": accuracy,
                    "latency": asdict(latency),
                }
            write_json(path, known)
        front = front.with_confirmed(found)
    return front


def read_confirmed(folder: Path, numbers: Sequence[int]) -> dict[int, Confirmed]:
    """What `confirm` kept of these trials."""
    known = read_json(folder / "confirmed.json") or {}
    return {
        int(n): Confirmed(Latency.from_dict(v["latency"]), v["test_accuracy"])
        for n, v in known.items()
        if int(n) in set(numbers)
    }
