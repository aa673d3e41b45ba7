"""The search from Python."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .errors import ConditionsChanged, UnknownName, UsageError

if TYPE_CHECKING:
    from .search.pace import Snapshot
    from .search.report.front import Front
    from .search.watch import Watcher
    from .studies.task import Task

DEFAULT_MINUTES = 10.0

Progress = Literal["auto", "live", "lines", "none"]


def compress(
    task: Task,
    budget_ms: float | None = None,
    *,
    percentile: Literal[50, 90, 95, 99] | None = None,
    min_accuracy: float | None = None,
    max_drop: str | None = None,
    max_mb: float | None = None,
    speedup: float | None = None,
    max_size: str | None = None,
    runtime: str | Sequence[str] | None = None,
    any_of: bool | None = None,
    device: str | None = None,
    threads: int | None = None,
    batch: int | None = None,
    axes: Sequence[str] | None = None,
    keep: Sequence[str] | None = None,
    epochs: float | None = None,
    objectives: Sequence[str] | None = None,
    trials: int | None = None,
    minutes: float | None = None,
    patience: float | None = None,
    seed: int | None = None,
    runs: str | Path = "runs",
    fresh: bool = False,
    remeasure: bool = False,
    progress: Progress = "auto",
    tensorboard: str | Path | None = None,
    mlflow: str | None = None,
    callback: Callable[[Snapshot], object] | None = None,
    target: Mapping[str, Any] | None = None,
    budget: Mapping[str, Any] | None = None,
    space: Mapping[str, Any] | None = None,
    recovery: Mapping[str, Any] | None = None,
    search: Mapping[str, Any] | None = None,
) -> Front:
    """Search compressed models for a task and return the front, as `autocompress search` does.

    Ctrl-C ends the search after the step under way, and the front so far is returned; pressed twice, it ends at once.
    SIGTERM and SIGHUP end it within seconds, without confirming the front; the next run does that.

    Example:
        >>> import autocompress
        >>> from my_task import task
        >>> front = autocompress.compress(task(), budget_ms=5, minutes=30)  # doctest: +SKIP
        >>> front.pick().save("deploy/")  # doctest: +SKIP

    Args:
        task: The trained teacher, its data and its metric.
        budget_ms: Latency (milliseconds) that models must meet on every target.
        percentile: Of latency, held against the budget; 50 by default.
        min_accuracy: Metric that models must have on the validation split; the most, where lower is better.
        max_drop: Of the metric below the teacher's that models may have, such as "1%" or "1pt" (a hundredth).
        max_mb: Largest model file, in megabytes; file size then counts in the search.
        speedup: How many times faster than the teacher models must be, in place of `budget_ms`.
        max_size: Largest model file, as a part of the teacher's, such as "25%".
        runtime: Where models will run, such as "openvino" or "tensorrt@cuda"; several names build every model for all.
        any_of: Whether each model is for the best of several runtimes, not for all of them.
        device: Device of runtimes that name none; "cpu" by default.
        threads: Threads of the runtime.
        batch: Inputs per inference.
        axes: Kinds of decisions; "depth", "channels", "size", "pattern", "bits" and "recovery" by default.
        keep: Names of layers that are left as they are.
        epochs: Of training for each student.
        objectives: What the front trades off; "accuracy" and "latency_ms" by default.
        trials: Stop after this many trials of this run.
        minutes: Stop after this many minutes; 10 if neither trials nor minutes are given.
        patience: Stop when the front has not moved for this many minutes.
        seed: Of the search.
        runs: Where the study's folder lies. A study of the same name there is resumed.
        fresh: Whether to begin a new study in a new folder instead.
        remeasure: Whether finished models of the study are measured anew first, under the conditions of now.
        progress: "live" draws in place, "lines" prints a line for each trial, "none" prints nothing; "auto" draws where
            the terminal or the notebook can, else prints nothing.
        tensorboard: Folder to log each trial into, for TensorBoard (`pip install 'autocompress[tensorboard]'`).
        mlflow: Where to log each trial with MLflow (`pip install 'autocompress[mlflow]'`), such as
            "http://server:5000" or "sqlite:///mlflow.db".
        callback: Called each time a trial has ended, with how the search stands (`Snapshot`: `trials`, `running`,
            `elapsed_s` and more). What it raises ends the search, and finished trials are kept.
        target: Other keys of the section `[target]` of a study file, such as `{"profile_seconds": 0}`.
        budget: Other keys of `[budget]`, such as `{"on": {"openvino": 2.0}}`.
        space: Other keys of `[space]`, such as `{"min_channels_fraction": 0.5}`.
        recovery: Other keys of `[recovery]`, such as `{"batch_size": 64}`.
        search: Other keys of `[search]`, such as `{"sampler": "random"}`.

    Returns:
        The front of all trials of the study.

    Raises:
        AutoCompressError: What cannot be, in one line; see `autocompress.errors` for the kinds.
    """
    from .search.followers.asked import followers_asked
    from .search.pace import Stop
    from .search.run import run_search
    from .search.signals import ended_by_signals
    from .studies.study_file import StudyFile
    from .studies.written import check_effect, written_in

    given: dict[str, dict[str, Any]] = {
        "target": {"runtime": runtime, "any_of": any_of, "device": device, "threads": threads, "batch": batch},
        "budget": {
            "latency_ms": budget_ms,
            "percentile": percentile,
            "min_accuracy": min_accuracy,
            "max_drop": max_drop,
            "max_mb": max_mb,
            "speedup": speedup,
            "max_size": max_size,
        },
        "space": {"axes": axes, "keep": keep},
        "recovery": {"epochs": epochs},
        "search": {
            "objectives": objectives,
            "trials": trials,
            "minutes": minutes,
            "patience": patience,
            "seed": seed,
        },
    }
    more = {"target": target, "budget": budget, "space": space, "recovery": recovery, "search": search}
    settings = StudyFile().named(task.name)
    for section, values in given.items():
        plain = {k: v if isinstance(v, str) or not isinstance(v, Sequence) else tuple(v) for k, v in values.items()}
        said, also = {k: v for k, v in plain.items() if v is not None}, more[section] or {}
        if twice := sorted(said.keys() & also.keys()):
            name = "budget_ms" if twice[0] == "latency_ms" else twice[0]
            raise UsageError(f"both {name} and {section} = {{{twice[0]!r}: ...}} were given; give one of them")
        settings = settings.changed(section, **said, **also) if said or also else settings
    check_effect(settings, written_in(settings))
    if settings.search.executor != "local" or settings.search.workers > 1:
        raise UsageError("a task made in Python runs in this process; for more workers write it into a file: --task")
    if settings.search.trials is None and settings.search.minutes is None:
        settings = settings.changed("search", minutes=DEFAULT_MINUTES)
    followers = followers_asked(None if tensorboard is None else Path(tensorboard), mlflow)
    stop = Stop()
    watcher = _watcher(progress)
    if callback is not None:
        watcher = _Calling(watcher, callback)
    with ended_by_signals(stop, told=False):
        try:
            outcome = run_search(settings, task, Path(runs), fresh, watcher, stop, anew=remeasure, followers=followers)
        finally:
            close = getattr(watcher, "close", None)
            if close is not None:
                close()
    if outcome.trouble:
        raise ConditionsChanged(outcome.trouble)
    return outcome.front


def open_study(path: str | Path) -> Front:
    """Return the front of an existing study.

    Example:
        >>> import autocompress
        >>> autocompress.open_study("runs/digits").pick(budget_ms=2)  # doctest: +SKIP

    Args:
        path: The study's folder, or its name under `runs/`.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: Its database is corrupt, or another version wrote it.
    """
    from .search.report.reading import read_front
    from .search.store.layout import find_study_folder

    return read_front(find_study_folder(Path(path)))


def _watcher(progress: Progress) -> Watcher | None:
    if progress not in ("auto", "live", "lines", "none"):
        raise UnknownName("progress", progress, ("auto", "live", "lines", "none"))
    if progress == "none" or (progress == "auto" and not _can_draw()):
        return None
    from .cli.progress import LiveProgress, PlainProgress

    kind = PlainProgress if progress == "lines" else LiveProgress
    return kind()


class _Calling:
    """Calls a function each time a trial has ended, beside what shows the search."""

    def __init__(self, shown: Watcher | None, callback: Callable[[Snapshot], object]) -> None:
        self._shown, self._callback = shown, callback
        self._ended: int | None = None

    def say(self, line: str) -> None:
        if self._shown is not None:
            self._shown.say(line)

    def show(self, snapshot: Snapshot, time_left_s: float | None) -> None:
        if self._shown is not None:
            self._shown.show(snapshot, time_left_s)
        if len(snapshot.trials) != self._ended:
            news = snapshot.new if self._ended is None else len(snapshot.trials) - self._ended
            self._ended = len(snapshot.trials)
            if news:
                self._callback(snapshot)

    def close(self) -> None:
        close = getattr(self._shown, "close", None)
        if close is not None:
            close()


def _can_draw() -> bool:
    """Tell whether standard output is a terminal, or this is a notebook that rich can draw in."""
    if sys.stdout is not None and sys.stdout.isatty():
        return True
    notebook = sys.modules.get("IPython")
    shell = notebook.get_ipython() if notebook is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"
