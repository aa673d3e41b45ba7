"""Trials with every kind of figure in them, and a store to keep them in."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from synthetic_spaces import chain

from autocompress.evaluators.measurement import Latency, Measurement
from autocompress.search.store.trials import TrialStore
from autocompress.search.trial import Origin, Trial, TrialState, WarmStart
from autocompress.spaces.plan import Plan
from autocompress.spaces.spec import Pattern, Recovery, StudentSpec

HELPERS = Path(__file__).parent
"""Where a process of its own finds this file."""
OBJECTIVES = ("accuracy", "latency_ms")


def a_latency(p50_ms: float = 1.0) -> Latency:
    conditions = {"cpu": "a machine", "threads": 1}
    return Latency(
        p50_ms, p50_ms * 0.9, p50_ms * 1.1, p50_ms * 1.2, p50_ms * 1.3, p50_ms * 1.4, p50_ms,
        0.5, 0.4, 0.6, 100, 10, 1, False, 3.0, 40.0, conditions,
    )  # fmt: skip


def a_trial(number: int, state: TrialState = TrialState.FINISHED) -> Trial:
    measured = {}
    if state is TrialState.FINISHED:
        measured = {"onnxruntime": Measurement(0.9, a_latency(), 12345, 6789, {"Conv": 3}, "")}
    spec = StudentSpec({"c0": number}, {"c1": 8}, {"c2": Pattern("2:4", 0.5)}, Recovery(quantization_aware=True))
    return Trial(
        number,
        Plan({"channels:c0": 16, "bits:c0": 8, "recovery:method": "full", "recovery:alpha": 0.25}),
        spec,
        Origin.SEARCH,
        "search",
        state,
        latent={"channels.level": 0.5, "bits:c0": "8"},
        gate={"onnxruntime": a_latency(), "openvino": a_latency(2.0)},
        gate_bytes=4000,
        first_look=0.25,
        warm_start=WarmStart(1, StudentSpec({"c0": 8}), "abc-1.pt"),
        rungs=(0.5, 0.75),
        measured=measured,
        reason="" if measured else "over the budget",
        seconds={"training": 1.5},
        seed=3,
    )


SPACE = chain([32, 48, 10])
ENDED = [state for state in TrialState if state.ended]


def a_store(folder: Path) -> TrialStore:
    return TrialStore(folder, "study", OBJECTIVES)


def end(store: TrialStore, trial: Trial) -> None:
    store.begin(trial)
    store.end(trial, [0.9, 1.0] if trial.finished else None, SPACE)


HOLDER = """
import sqlite3, sys, time
held = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
held.execute("BEGIN EXCLUSIVE")
print("held", flush=True)
time.sleep(float(sys.argv[2]))
"""


@contextlib.contextmanager
def held(path: Path, seconds: float) -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(path), str(seconds)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            yield
        finally:
            process.kill()
