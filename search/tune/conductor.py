"""The conductor: matches what is decided with Tune's trials. Its searcher and its scheduler share it."""

from __future__ import annotations

import datetime
import pickle
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray

from ...errors import UsageError
from ...spaces.space import Space
from ..decisions import Decisions
from ..evaluate.parcel import job_parcel, unpack
from ..executors.base import JobLost
from ..executors.ray_deaths import why_ended
from ..executors.ray_worker import Done
from ..next_job import Assignment
from ..pace import Stop
from ..trial import Trial
from ..watch import Watch
from .desk import Found, Post
from .metrics import final_metrics, metrics_of

FINISHED = "FINISHED"
"""What a searcher of Tune returns when it has no more trials."""
ALIVE = ("PENDING", "RUNNING", "PAUSED")
"""States of a trial that Tune may still run."""
TRIES = 20
"""Deaths of processes that one of Tune's trials may see, over all its jobs: the study gives up much earlier."""


class Conductor:
    """Has the jobs of a study done by Tune's trials.

    A trial's job lies on the desk when Tune lets the trial step. Once a trial has ended, or waits at a rung, one more
    step reports it. So what Tune shows of a trial is all that became of it.

    Attributes:
        folder: The study's folder.
        most: Trials at a time; None for as many as the cluster has room for.
    """

    def __init__(
        self,
        folder: Path,
        space: Space,
        decisions: Decisions,
        watch: Watch,
        stop: Stop,
        desk: Any,
        room: Callable[[], int],
    ) -> None:
        """Begin with no trial of Tune's.

        Args:
            folder: The study's folder.
            space: What is searched.
            decisions: Of the study.
            watch: Looks at the search.
            stop: Told when Tune will end the search.
            desk: Handle of the `Desk`.
            room: Returns how many trials the cluster has room for.
        """
        self.folder = folder
        self.most: int | None = None
        self._space, self._decisions, self._watch, self._stop, self._room = space, decisions, watch, stop, room
        self._desk, self._ticket = desk, 0
        self._trials: dict[int, Any] = {}
        self._sent: dict[int, Trial] = {}  # trials as they stood when their last jobs were sent
        self._reports: set[int] = set()  # trials whose next step only reports
        self._paused: set[int] = set()  # trials that were told to pause
        self._held: dict[int, Assignment] = {}  # what goes on before Tune knows that it waits
        self._resumed: dict[int, bool] = {}  # who goes on -> whether Tune was told
        self._unborn: int | None = None

    def start(self, time_budget: float | datetime.timedelta | None) -> None:
        """Take in that Tune begins, and when it will end: nothing is begun that would not come to its end.

        Args:
            time_budget: In seconds, or as a time; None where Tune ends otherwise.
        """
        seconds = time_budget.total_seconds() if isinstance(time_budget, datetime.timedelta) else time_budget
        self._stop.deadline_s = None if seconds is None else time.monotonic() + seconds
        for number in list(self._decisions.running):
            self._decisions.set_aside(number)  # an earlier run of Tune was broken off
        for number in list(self._trials):
            self._forget(number)
        self._trials, self._unborn = {}, None

    def propose(self) -> dict[str, Any] | str | None:
        """Return the configuration of a new trial; None where there is no room, FINISHED where nothing more begins.

        Students that wait take precedence.

        Raises:
            AutoCompressError: What ends a study.
        """
        if self._unborn is not None:
            raise UsageError("the searcher of a study needs its scheduler: TuneConfig(scheduler=study.scheduler())")
        self._decisions.meet()
        while self._has_room(no_more=False):
            assigned = None if self._watch.should_stop() else self._decisions.begin()
            if assigned is None:
                return FINISHED
            if self._is_alive(assigned.trial.number):
                self._go_on(assigned)
                continue
            self._forget(assigned.trial.number)
            self._put(assigned)
            self._unborn = assigned.trial.number
            return self._config(assigned.trial)
        return None

    def added(self, tune_trial: Any) -> None:
        """Take in that Tune has made a trial of what was proposed, or tries it once more."""
        number = _number(tune_trial)
        if number not in self._trials and number != self._unborn:
            raise UsageError("the scheduler of a study needs its searcher: TuneConfig(search_alg=study.searcher())")
        if self._trials.get(number) is not tune_trial:
            # how often is the study's to say, which tells a plan that processes die of from a machine that is gone
            tune_trial.max_failures = TRIES
        self._trials[number], self._unborn = tune_trial, None

    def came(self, tune_trial: Any) -> bool:
        """Take in that a step of a trial has ended; return whether another one follows at once.

        Raises:
            AutoCompressError: What ends a study.
        """
        number = _number(tune_trial)
        if number in self._reports:
            self._reports.discard(number)
            if (assigned := self._held.pop(number, None)) is not None:
                self._put(assigned)
                return True
            self._paused.add(number)
            return False
        if number in self._decisions.running:
            self._follow(number, self._taken(number, ray.get(self._desk.collect.remote(number))))
        return True

    def failed(self, tune_trial: Any) -> None:
        """Take in that the process of a trial has died. Tune makes another one, which takes what lies on the desk.

        Raises:
            AutoCompressError: What ends a study.
        """
        number, again = _number(tune_trial), tune_trial.should_recover()
        if number not in self._decisions.running or number in self._reports:
            tune_trial.max_failures = tune_trial.num_failures  # one more try: all is done but to report it
        elif isinstance(found := ray.get(self._desk.collect.remote(number)), Done):  # it died after the job
            self._follow(number, self._taken(number, found))
        else:
            machine = str((tune_trial.run_metadata.last_result or {}).get("hostname", "its machine"))
            self._follow(number, self._decisions.broke_off(number, why_ended(_error(tune_trial), machine)))
        if not again:  # for Tune it is over
            self._decisions.set_aside(number)
            self._forget(number)

    def left(self, tune_trial: Any) -> None:
        """Take in that a trial is over for Tune: what the study has not ended of it is left to its next run."""
        number = _number(tune_trial)
        if number in self._decisions.running and number not in self._reports:
            found = ray.get(self._desk.collect.remote(number))
            if isinstance(found, Done):
                self._taken(number, found)
        self._decisions.set_aside(number)
        self._forget(number)
        self._look()

    def who_resumes(self, no_more: bool) -> Any:
        """Return a trial of Tune's that waited and goes on; None where none does.

        Args:
            no_more: Whether Tune asks for no more trials.
        """
        if no_more:
            self._decisions.meet()
        while no_more and self._has_room(no_more) and not self._watch.should_stop():
            assigned = self._decisions.begin(new=False, able=lambda trial: self._is_alive(trial.number))
            if assigned is None:
                break
            self._go_on(assigned)
        for number, told in list(self._resumed.items()):
            if self._trials[number].status == "PAUSED":
                self._resumed[number] = True
                return self._trials[number]
            if told:
                del self._resumed[number]
        return None

    def left_waiting(self) -> list[Any]:
        """Return the trials that wait while nothing runs any more: nobody goes on."""
        if self._decisions.running or any(t.status in ALIVE[:2] for t in self._trials.values()):
            return []
        return [trial for trial in self._trials.values() if trial.status == "PAUSED"]

    def _forget(self, number: int) -> None:
        """Drop what is known of a trial of Tune's that is over."""
        self._reports.discard(number)
        self._paused.discard(number)
        self._held.pop(number, None)
        self._resumed.pop(number, None)

    def _is_alive(self, number: int) -> bool:
        return number in self._trials and self._trials[number].status in ALIVE

    def _has_room(self, no_more: bool) -> bool:
        busy = len(self._decisions.running)
        if not no_more:  # a process that reports is about to be free. Were another asked for, Tune would start one
            busy += sum(t.status == "RUNNING" and n not in self._decisions.running for n, t in self._trials.items())
        room = self._room()  # asked in any case: it also looks after the machines
        return busy < (self.most or room)

    def _go_on(self, assigned: Assignment) -> None:
        number = assigned.trial.number
        if number in self._paused:
            self._paused.discard(number)
            self._put(assigned)
            self._resumed[number] = False
        else:
            self._held[number] = assigned

    def _taken(self, number: int, found: Found | None) -> Assignment | None:
        if isinstance(found, Done):
            unpack(self.folder, found.made)
            if not found.result.stopped:
                return self._decisions.came(number, found.result)
            found = JobLost("its machine could not ask the driver whether to go on")
        if found is None:
            found = JobLost("what came of it did not arrive")
        if not isinstance(found, JobLost):
            raise found  # it ends the study
        return self._decisions.broke_off(number, found)

    def _follow(self, number: int, assigned: Assignment | None) -> None:
        """Lay what follows on the desk: a job, or a report of what has become of the trial."""
        self._look()
        if assigned is not None:
            self._put(assigned)
            return
        known = self._watch.known
        waiting = next((t for t in self._decisions.room if t.number == number), None)
        if waiting is not None:
            report = metrics_of(waiting, known.limits.metric)
        else:
            over = [t for t in self._decisions.trials if t.number == number] or [self._sent[number]]
            report = {**final_metrics(over[-1], known), "done": True}  # or it is left to the next run
        self._reports.add(number)
        self._post(number, Post(self._next_ticket(), report=report))

    def _put(self, assigned: Assignment) -> None:
        parcel = job_parcel(self.folder, assigned.job)
        self._sent[assigned.trial.number] = assigned.trial
        self._post(assigned.trial.number, Post(self._next_ticket(), assigned, parcel))

    def _post(self, number: int, post: Post) -> None:
        ray.get(self._desk.put.remote(number, post))

    def _next_ticket(self) -> int:
        self._ticket += 1
        return self._ticket

    def _look(self) -> None:
        self._watch(self._decisions.snapshot())

    def _config(self, trial: Trial) -> dict[str, Any]:
        decided: Mapping[str, Any] = trial.plan.choices
        options = {v.name: v.legal(decided.get(v.name, v.options[0])) for v in self._space}
        return {"trial": trial.number, "origin": trial.label, "decisions": options}


def _number(tune_trial: Any) -> int:
    return int(tune_trial.config.get("trial", 0))


def _error(tune_trial: Any) -> BaseException:
    """Return what Tune has noted, beside the trial's results, of the last death of its process."""
    path = tune_trial.pickled_error_file
    try:
        found = pickle.loads(Path(path).read_bytes()) if path else None
    except Exception:  # whatever an error of somebody else's code needs to be read
        found = None
    return found if isinstance(found, BaseException) else RuntimeError("its process is gone")
