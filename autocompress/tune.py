"""A search inside Ray Tune, for those who live there: the same proposals, limits, gate and rungs.

Example:
    >>> from ray import tune
    >>> import autocompress.tune
    >>> study = autocompress.tune.Study("digits", budget_ms=5)  # doctest: +SKIP
    >>> tuner = tune.Tuner(
    ...     study.trainable(),
    ...     param_space=study.search_space(),
    ...     tune_config=study.tune_config(num_samples=20),
    ... )  # doctest: +SKIP
    >>> grid = tuner.fit()  # doctest: +SKIP
    >>> grid.get_best_result().metrics["model"]  # doctest: +SKIP
    >>> front = study.finish()  # doctest: +SKIP

Tune ends a search: by `num_samples`, `time_budget_s`, or Ctrl-C. The study lies in its folder as after any search:
`autocompress front`, `report` and `pick` read it, `autocompress search` goes on with it, and so does another `Study`.
`Tuner.restore` does not: what Tune keeps beside its own results is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from .errors import UsageError

if TYPE_CHECKING:
    from .search.report.front import Front
    from .studies.study_file import StudyFile
    from .studies.task import Task

__all__ = ["Study"]


class Study:
    """A study that Ray Tune searches. It is open, alone, from when it is made until it is finished or closed."""

    def __init__(
        self,
        study: str | Path | Task,
        *,
        budget_ms: float | None = None,
        seed: int | None = None,
        runs: str | Path = "runs",
        fresh: bool = False,
        run_code: bool = False,
        say: Callable[[str], object] = print,
        target: Mapping[str, Any] | None = None,
        budget: Mapping[str, Any] | None = None,
        space: Mapping[str, Any] | None = None,
        recovery: Mapping[str, Any] | None = None,
        search: Mapping[str, Any] | None = None,
    ) -> None:
        """Open a study, calibrate its targets, and learn what is learned before the first trial.

        Ray is started on this machine, or joined, unless that was done before.

        Args:
            study: A study file, the name of a bundled study, a study's own folder, a task file such as `my_task.py`, or
                a task.
            budget_ms: Latency (milliseconds) that models must meet on every target.
            seed: Of the search.
            runs: Where the study's folder lies. A study of the same name there goes on.
            fresh: Whether to begin a new study in a new folder instead.
            run_code: Whether to run code that a study from elsewhere names.
            say: Takes a line about what is going on.
            target: Keys of the section `[target]` of a study file, such as `{"threads": 2}`.
            budget: Other keys of `[budget]`, such as `{"max_drop": "1pt"}`.
            space: Keys of `[space]`, such as `{"axes": ("channels", "bits")}`.
            recovery: Keys of `[recovery]`, such as `{"epochs": 4}`.
            search: Other keys of `[search]`, such as `{"cpus_per_job": 1, "gpus_per_job": 0.5}`.

        Raises:
            AutoCompressError: What cannot be, in one line; see `autocompress.errors` for the kinds.
        """
        from .search.executors.registry import executor_factory
        from .studies.task import Task

        executor_factory("ray")  # says what to install
        task = study if isinstance(study, Task) else None
        settings, runs = _found(study, Path(runs), run_code)
        given = {
            "target": dict(target or {}),
            "budget": _together("budget_ms", budget_ms, "latency_ms", "budget", budget),
            "space": dict(space or {}),
            "recovery": dict(recovery or {}),
            "search": _together("seed", seed, "seed", "search", search),
        }
        if own := sorted({"trials", "minutes", "workers", "executor"} & given["search"].keys()):
            raise UsageError(
                f"search = {{{own[0]!r}: ...}}: Ray Tune says when a search ends and what runs at a time; give "
                "num_samples, time_budget_s or max_concurrent_trials to its TuneConfig"
            )
        from .search.tune.opened import OpenForTune
        from .studies.budget import LATENCY_KEYS
        from .studies.written import check_effect, written_in

        if given["budget"].keys() & LATENCY_KEYS:  # in place of what the study's file asks for
            given["budget"] = dict.fromkeys(LATENCY_KEYS - given["budget"].keys()) | given["budget"]
        for section, values in given.items():
            settings = settings.changed(section, **values) if values else settings
        check_effect(settings, written_in(settings))
        self._open = OpenForTune(settings, task, runs, fresh, say)

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self._open.folder

    @property
    def metric(self) -> str:
        """What Tune's best result goes by: the metric of files that meet every limit, such as "feasible_accuracy"."""
        return self._open.metric

    @property
    def mode(self) -> str:
        """Which of two values of the metric is better: "max" or "min"."""
        return self._open.mode

    def trainable(self) -> Any:
        """Return the trainable: each of its steps does one job of a trial, or reports how the trial stands.

        It asks for as many cores and GPUs as `[search] cpus_per_job` and `gpus_per_job` say.
        """
        return self._open.trainable()

    def search_space(self) -> dict[str, Any]:
        """Return what is decided, as Tune's `param_space`: a domain for every decision variable."""
        return self._open.search_space()

    def searcher(self) -> Any:
        """Return Tune's `search_alg`. It goes with `scheduler`."""
        return self._open.searcher()

    def scheduler(self) -> Any:
        """Return Tune's `scheduler`. It goes with `searcher`."""
        return self._open.scheduler()

    def tune_config(self, **more: Any) -> Any:
        """Return a `TuneConfig` with searcher, scheduler, metric and mode, whose actors are used again.

        Args:
            **more: Other settings of Tune, such as `num_samples=20`, `max_concurrent_trials=2` or `time_budget_s=3600`.
        """
        return self._open.tune_config(more)

    def finish(self) -> Front:
        """Confirm the front as at the end of any search, write the report, and close the study.

        Returns:
            The front.

        Raises:
            AutoCompressError: What cannot be, in one line.
        """
        return self._open.finish()

    def close(self) -> None:
        """Close the study without confirming its front; the next search does that."""
        self._open.close()

    def __enter__(self) -> Study:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _found(study: str | Path | Task, runs: Path, run_code: bool) -> tuple[StudyFile, Path]:
    """Return the settings of a study, and where it lies."""
    from .cli.options import find_study, folder_of
    from .studies.study_file import StudyFile
    from .studies.task import Task

    if isinstance(study, Task):
        return StudyFile().named(study.name), runs
    name = str(study)
    if name.endswith(".py") or ".py:" in name:
        return find_study(None, name, run_code), runs
    return find_study(name, None, run_code), folder_of(name) or runs


def _together(name: str, value: object, key: str, section: str, more: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the keys of a section, one of which has an argument of its own.

    Raises:
        UsageError: It was given in both ways.
    """
    found = dict(more or {})
    if value is None:
        return found
    if key in found:
        raise UsageError(f"both {name} and {section} = {{{key!r}: ...}} were given; give one of them")
    return {**found, key: value}
