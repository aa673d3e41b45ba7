"""The end of a search: the front is measured again, longer and side by side, and scored once on the test split."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ...errors import MetricError
from ...evaluators.measurement import Latency
from ..evaluate.context import Workbench
from ..evaluate.evaluation import file_accuracy
from ..evaluate.target_session import Station
from ..store.files import digest, read_json, write_json
from .front import Confirmed, Entry, Front

PROCESSES = 3
SIDE_BY_SIDE = 6
"""Files in one process: more would outgrow the caches that a deployed model has to itself."""
LIMIT_SECONDS = 90.0
"""After these, files measured side by side are not measured in further processes for the sake of precision."""
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
    latencies = [latency for e in waiting for latency in (e.latency, *e.elsewhere.values())]
    return sum(SECONDS_PER_FILE + examples / batch * latency.p50_ms / 1000 for latency in latencies)


def confirm(bench: Workbench, front: Front, say: Callable[[str], None] = lambda line: None) -> Front:
    """`front` with longer latencies and test accuracies of its candidates, kept in `confirmed.json`.

    A file that was scored on the test split before is not scored again. The longer measurement may change who is
    on the front; what comes up then is confirmed too.
    """
    path = bench.folder / "confirmed.json"
    known: dict[str, Any] = read_json(path) or {}
    undefined: dict[int, str] = {}
    for _ in range(3):
        waiting = [e for e in candidates(front) if e.trial.number not in {*front.confirmed, *undefined}]
        if not waiting:
            break
        for station in bench.stations:
            here = [e for e in waiting if front.home(e) == station.name or station.name in e.elsewhere]
            for start in range(0, len(here), SIDE_BY_SIDE):
                part = here[start : start + SIDE_BY_SIDE]
                where = f" on {station.name}" if len(bench.stations) > 1 else ""
                say(f"confirming {start + 1} to {start + len(part)} of {len(here)} models{where}")
                undefined |= _look_again(bench, station, front, part, known)
                write_json(path, known)
        front = front.with_confirmed(read_confirmed(bench.folder, [e.trial.number for e in waiting]))
    for number, reason in undefined.items():
        say(f"trial {number} has no test score: {reason}")
    return front


def _look_again(
    bench: Workbench, station: Station, front: Front, part: Sequence[Entry], known: dict[str, Any]
) -> dict[int, str]:
    """Measure these entries' files for one target, and note it in `known`. Returns the trials that the metric is not
    defined for on the test split, with its reason."""
    undefined: dict[int, str] = {}
    files = [front.path(entry, station.name) for entry in part]
    meter = station.meter
    latencies = meter.measure(files, PROCESSES, until=meter.precision, limit_seconds=LIMIT_SECONDS)
    for entry, file, latency in zip(part, files, latencies, strict=True):
        noted = known.setdefault(str(entry.trial.number), {})
        old = noted.get("files", {}).get(station.name, noted)
        sha256 = digest(file)
        scored = old.get("sha256") == sha256
        try:
            accuracy = old["test_accuracy"] if scored else file_accuracy(bench, station, file, bench.task.test)
        except MetricError as error:
            undefined[entry.trial.number] = str(error)
            continue
        look = {"sha256": sha256, "test_accuracy": accuracy, "latency": latency.to_dict()}
        noted |= {"home": front.home(entry), "elsewhere": list(entry.elsewhere)}
        noted["files"] = {**noted.get("files", {}), station.name: look}
    return undefined


def read_confirmed(folder: Path, numbers: Sequence[int]) -> dict[int, Confirmed]:
    """What `confirm` kept of these trials."""
    known = read_json(folder / "confirmed.json") or {}
    found = {}
    for number in (n for n in numbers if str(n) in known):
        entry = known[str(number)]
        if "files" not in entry:  # of a version that knew one target
            found[number] = Confirmed(Latency.from_dict(entry["latency"]), entry["test_accuracy"])
            continue
        if entry["home"] not in entry["files"] or not set(entry["elsewhere"]) <= set(entry["files"]):
            continue  # interrupted between two targets
        latencies = {name: Latency.from_dict(file["latency"]) for name, file in entry["files"].items()}
        accuracy = min(file["test_accuracy"] for file in entry["files"].values())
        found[number] = Confirmed(latencies.pop(entry["home"]), accuracy, latencies)
    return found
