"""What a study asks of this machine and of what is installed, checked before its data is read."""

from __future__ import annotations

from collections.abc import Callable

from ..cores import usable_cores
from ..errors import UsageError
from ..spaces.axes.recovery import EARLY
from ..spaces.axes.registry import AXES
from ..spaces.space import Space
from ..studies.schema import StudySections
from ..studies.task import Task
from .evaluate.target_session import usable_runtime
from .executors.registry import executor_factory
from .objectives import objectives_of
from .store.facts import TaskFacts
from .store.place import check_address
from .technique_kinds.facts import SpaceFacts
from .techniques import asked_for

WORKERS_A_CORE = 4
"""Workers that may share a core: some wait while others train. Each has the network and the data in memory."""


def check_starts(settings: StudySections, task: Task) -> None:
    """Refuse students that begin with weights which the task does not bring.

    Raises:
        UsageError: It brings none.
    """
    if EARLY in settings.recovery.starts and task.early_weights is None:
        raise UsageError(
            f"[recovery] starts names {EARLY!r}, and the task has no early weights: give Task(early_weights=...), or "
            "leave it out"
        )


def tell_not_offered(settings: StudySections, space: Space, say: Callable[[str], None]) -> None:
    """Say which of the techniques that were named a study does not offer, and why.

    Args:
        settings: Of the study.
        space: Of the study.
        say: Takes a line about each.
    """
    if "all" in settings.search.baselines:
        return  # the table of techniques says it of each
    facts = SpaceFacts.of(space)
    for kind in asked_for(settings.search.baselines)[1]:
        if why := kind.why_not(facts):
            say(f"{kind.name}: {why}")


def tell_points(settings: StudySections, facts: TaskFacts, say: Callable[[str], None]) -> None:
    """Say what points are where the metric is none of 0 to 1, as percentages are not: a user may mean other ones.

    Args:
        settings: Of the study.
        facts: What is known of its task.
        say: Takes a line.
    """
    drop, metric = settings.budget.max_drop or "", facts.metric
    if drop.endswith("pt") and facts.teacher is not None and abs(facts.teacher) > 1:
        number = float(drop.removesuffix("pt"))
        say(
            f"careful: max_drop = {drop} is {number / 100:g} in {metric.name}, of which the teacher has "
            f"{metric.text(facts.teacher)}; max_drop = {number:g} is {number:g}"
        )


def check_asked(settings: StudySections, say: Callable[[str], None] = lambda line: None) -> None:
    """Refuse what cannot be had here.

    Args:
        settings: Of the study.
        say: Takes a line about what is slow.

    Raises:
        UsageError: More workers or threads are asked for than the cores can carry, or the address of a database cannot
            be one.
        UnknownName: There is no axis, objective, baseline, executor, runtime or device of a name.
        PluginError: One of them cannot be loaded.
        RuntimeUnavailable: A runtime or an executor cannot be used here.
    """
    for axis in settings.space.axes:
        AXES.make(axis)
    objectives_of(settings)
    settings.budgets()
    asked_for(settings.search.baselines)
    executor_factory(settings.search.executor)
    if settings.search.storage:
        check_address(settings.search.storage)
    on_ray = [key for key in ("address", "cpus_per_job", "gpus_per_job", "shared") if getattr(settings.search, key)]
    if on_ray and settings.search.executor != "ray":
        raise UsageError(
            f"[search] {on_ray[0]} is for a Ray cluster, and executor = {settings.search.executor!r}; give executor ray"
        )
    gpus = settings.search.gpus_per_job
    if gpus > 1 and gpus != int(gpus):
        raise UsageError(f"[search] gpus_per_job = {gpus:g}; allowed: a part of one, such as 0.5, or whole ones")
    cores, threads, workers = usable_cores(), settings.target.threads, settings.search.workers
    for target in settings.target.targets():
        if target.device == "cpu" and threads > cores:
            raise UsageError(
                f"[target] threads = {threads}, but this process may use {_counted(cores)}: a latency with more "
                f"threads than cores says nothing; allowed: up to {cores}"
            )
        usable_runtime(target).capabilities(target)
    if settings.search.executor != "ray" and workers > WORKERS_A_CORE * cores:
        raise UsageError(
            f"[search] workers = {workers}, but this process may use {_counted(cores)}; allowed: up to "
            f"{WORKERS_A_CORE * cores}, and one for each core is best"
        )
    if settings.search.executor == "processes" and workers > cores:
        say(f"{workers} workers share {_counted(cores)}: one for each core is as fast, and needs less memory")


def _counted(cores: int) -> str:
    return "1 core" if cores == 1 else f"{cores} cores"
