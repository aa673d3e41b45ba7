"""A study that is open for Ray Tune: what its trainable, searcher and scheduler are made of, and how it is finished."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray
import torch
from ray import tune

from ...cores import usable_cores
from ...errors import UsageError
from ...spaces.variables import Variable
from ...studies.schema import SearchSection
from ...studies.study_file import StudyFile
from ...studies.task import Task
from ..assemble import decisions_of
from ..evaluate.recalibration import keep_drift
from ..executors.base import ExecutorContext
from ..executors.ray_cluster import nodes, on, timing_host
from ..executors.ray_machines import USUAL_CPUS
from ..executors.ray_opening import hides_gpus, opening_of
from ..executors.ray_pool import TimingMachines
from ..followers.following import Followings
from ..followers.telling import Telling
from ..pace import Stop
from ..prepare.surrogates import prepare_surrogates
from ..report.confirm import confirm
from ..report.front import Front
from ..report.html.keep import ReportKeeper
from ..report.profiles import profile_models
from ..report.reading import read_front
from ..store.settings import write_settings
from ..store.status import StatusKeeper
from ..study import opened, with_what_was_seen
from ..watch import Silent, Watch
from .conductor import Conductor
from .desk import Desk
from .searcher import StudyScheduler, StudySearcher
from .trainable import JobTrainable


class _Saying(Silent):
    """Shows lines alone: Tune shows the trials."""

    def __init__(self, say: Callable[[str], object]) -> None:
        self._say = say

    def say(self, line: str) -> None:
        """Show the line."""
        self._say(line)


class _Apart:
    """Says that jobs run in processes of their own; see `deaths.Deaths`."""

    apart = True


class OpenForTune:
    """A study that this process has open, and that Tune searches."""

    def __init__(
        self, settings: StudyFile, task: Task | None, runs: Path, fresh: bool, say: Callable[[str], object]
    ) -> None:
        """Open the study, and learn what is learned before the first trial.

        Args:
            settings: Of the study.
            task: The task, where it is made in Python.
            runs: Where studies lie.
            fresh: Whether to begin a new study in a new folder.
            say: Takes a line about what is going on.

        Raises:
            AutoCompressError: What cannot be, in one line.
        """
        if ray.util.client.ray.is_connected():
            raise UsageError(
                "through ray:// the loop of Tune runs on the cluster, away from the study's folder: run this on a "
                "machine of the cluster, as `ray job submit` does"
            )
        shown, kept = _Saying(say), settings.search
        if kept.shared:
            shown.say(
                "[search] shared is of searches outside Ray Tune: here, weights and models travel with each trial"
            )
        settings = settings.changed("search", executor="ray", trials=None, minutes=None)
        torch.set_num_threads(min(torch.get_num_threads(), usable_cores()))
        self._shown, self._begun_s, self._stop = shown, time.time(), Stop()
        self._front: Front | None = None
        with contextlib.ExitStack() as held:
            host = timing_host(settings.search, shown.say)
            study = held.enter_context(opened(settings, task, runs, fresh, self._stop, shown.say, host=host))
            write_settings(study.folder, study.settings.changed("search", **_elsewhere(kept)))
            loop_s = time.monotonic()
            surrogates = prepare_surrogates(study.context, study.space, settings, shown.say, None)
            study = with_what_was_seen(study, shown.say)
            self._given = ExecutorContext(study.context, study.settings, study.folder, shown.say)
            study.access.release()
            self._timing = TimingMachines(study.context, shown.say)
            self._opening = opening_of(self._given, self._timing.host)
            here = on(ray.get_runtime_context().get_node_id())
            self._desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here).remote()
            held.callback(_end, self._desk)
            ray.get(self._desk.ends.remote())  # it is there before Tune asks it anything
            self._decisions = decisions_of(study, _Apart(), surrogates, self._stop.time_left_s, loop_s)
            devices = tuple(target.device for target in study.context.targets)
            self._report = ReportKeeper(study.folder, surrogates, devices, shown.say)
            examples = len(study.context.task.validation)
            telling = Telling(study.folder, study.limits, study.objectives, study.space.variables, examples)
            nobody = Followings((), telling, shown.say)  # Tune has its own loggers
            status = StatusKeeper(study.folder, tuple)
            self._watch = Watch(study, self._decisions, shown, self._stop, None, self._report, status, nobody)
            self._study, self._held = study, held.pop_all()
        self._cpus = study.settings.search.cpus_per_job or max(
            1, min(USUAL_CPUS, int(max((node.cpus for node in nodes()), default=1)))
        )
        self._conductor = Conductor(
            study.folder, study.space, self._decisions, self._watch, self._stop, self._desk, self._room
        )

    @property
    def folder(self) -> Path:
        """The study's folder."""
        return self._study.folder

    @property
    def metric(self) -> str:
        """What Tune is to go by: the metric of files that meet every limit."""
        return f"feasible_{self._study.limits.metric.key}"

    @property
    def mode(self) -> str:
        """Which of two values of the metric is better, in Tune's word."""
        return "max" if self._study.limits.metric.maximized else "min"

    def search_space(self) -> dict[str, Any]:
        """Return what is decided, in Tune's form. The study draws itself: plans are repaired, and no two are one."""
        return {"decisions": {variable.name: _domain(variable) for variable in self._study.space}}

    def searcher(self) -> StudySearcher:
        """Return what begins trials."""
        return StudySearcher(self._conductor)

    def scheduler(self) -> StudyScheduler:
        """Return what lets trials go on, wait and end."""
        return StudyScheduler(self._conductor)

    def trainable(self) -> Any:
        """Return the class of trials, with what each of them needs: cores, GPUs and the study."""
        with_study = tune.with_parameters(
            JobTrainable,
            desk=self._desk,
            opening=self._opening,
            threads=self._cpus,
            hide_gpus=hides_gpus(self._given),
            label=self._study.limits.metric,
        )
        return tune.with_resources(
            with_study, {"cpu": self._cpus, "gpu": self._study.settings.search.gpus_per_job or 0}
        )

    def tune_config(self, more: dict[str, Any]) -> Any:
        """Return Tune's settings for this study, with others on top."""
        usual = {
            "search_alg": self.searcher(),
            "scheduler": self.scheduler(),
            "metric": self.metric,
            "mode": self.mode,
            "reuse_actors": True,
            "trial_dirname_creator": _folder_name,
        }
        return tune.TuneConfig(**{**usual, **more})

    def finish(self) -> Front:
        """Confirm the front, write its report, and close the study. Another call returns the same."""
        if self._front is None:
            with self._held:
                self._leave()
                say = self._shown.say
                front = read_front(self._study.folder, self._decisions.trials)
                if not self._study.access.is_last():
                    self._front = front  # who goes on with the study confirms it
                    return front
                study = with_what_was_seen(self._study, say)
                front = confirm(study.context, front, say)
                keep_drift(study.context, self._begun_s)
                profile_models(study.context, front, say)
                self._report.keep(front, final=True)
                self._front = front
        return self._front

    def close(self) -> None:
        """Close the study as it is. The next run confirms its front."""
        with self._held:
            self._leave()

    def _leave(self) -> None:
        self._stop.deadline_s = None  # of Tune, which is over
        self._decisions.leave()
        for number in list(self._decisions.running):
            self._decisions.set_aside(number)

    def _room(self) -> int:
        self._timing.look_at_first()  # Tune asks again and again
        gpus = self._study.settings.search.gpus_per_job
        each = [min(n.cpus // self._cpus, n.gpus // gpus if gpus else n.cpus) for n in nodes()]
        return max(1, int(sum(each)))


def _elsewhere(asked: SearchSection) -> dict[str, Any]:
    """Return what a search goes on with that is not Tune's: as was asked for, without what only Ray is asked."""
    found = {key: getattr(asked, key) for key in ("executor", "trials", "minutes")}
    if asked.executor != "ray":
        usual = SearchSection()
        found |= {key: getattr(usual, key) for key in ("address", "cpus_per_job", "gpus_per_job", "shared")}
    return found


def _end(desk: Any) -> None:
    with contextlib.suppress(ray.exceptions.RayError):
        if ray.is_initialized():
            ray.kill(desk)


def _domain(variable: Variable) -> Any:
    if variable.bounds is None:
        return tune.choice(list(variable.options))
    low, high = variable.bounds.low, variable.bounds.high
    return tune.loguniform(low, high) if variable.bounds.log else tune.uniform(low, high)


def _folder_name(trial: Any) -> str:
    return f"{int(trial.config['trial']):04d}_{trial.trial_id}"
