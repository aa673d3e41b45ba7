"""What runs on the nodes of a Ray cluster: workers that open the study in a folder of their own, and a bulletin."""

from __future__ import annotations

import contextlib
import os
import pickle
import platform
import sys
import time
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ...errors import AutoCompressError, StorageError, TimingHostLost, one_line
from ...evaluators.timing.host import TimingHost
from ...studies.checkpoint import load_weights
from ...studies.study_file import StudyFile
from ...temporary import sweep_temporary, temporary_folder
from ..evaluate.context import EvaluationContext, open_context
from ..evaluate.job import Job, JobResult
from ..evaluate.parcel import Parcel, made_since, stamps, unpack
from ..evaluate.shared import NotSeen, SharedFolder, seen_soon
from ..identity import check_identity
from ..job_log import evaluate_in_worker
from ..store.layout import checkpoints_folder
from ..store.logs import take_log
from .base import JobLost
from .ray_logs import Printed
from .worker import WorkerUnusable, prepare_worker

TEACHER = "teacher.safetensors"
LOOK_S = 1.0
"""Seconds between two looks at the bulletin."""
BULLETIN_S = 10.0
"""Seconds that the bulletin may take to answer. Where it does not, the driver is gone or out of reach."""


@dataclass(frozen=True)
class Opening:
    """What a worker opens a study with.

    Attributes:
        version: Of AutoCompress in the driver.
        settings: The study's.
        folder: Of the study in the driver, for what is told to users.
        task: The prepared task as Ray pickles it; None where it cannot travel, and is made from the settings.
        parcel: Files of the study.
        host: The machine that times files.
        shared: The study's folder where machines may see it; the parcel only names files then.
        whole: Reference to the parcel with all content, for a worker that does not see the folder.
    """

    version: str
    settings: StudyFile
    folder: Path
    task: bytes | None
    parcel: Parcel
    host: TimingHost
    shared: SharedFolder | None = None
    whole: Any = None


@dataclass(frozen=True)
class Opened:
    """A worker that has opened the study.

    Attributes:
        machine: Its machine's name.
        greeting: Where in the shared folder it wrote something for the driver to see; empty where it cannot.
    """

    machine: str
    greeting: str = ""


@dataclass(frozen=True)
class Done:
    """What came of a job, with the files that it made, changed and removed."""

    result: JobResult
    made: Parcel


@dataclass(frozen=True)
class Unseen:
    """A job whose files a worker does not see in the shared folder as the driver does: it is to be sent with them.

    Attributes:
        why: In a line.
        all_of_it: Whether the worker does not see the folder any more.
    """

    why: str
    all_of_it: bool


class Bulletin:
    """Says on the driver's node whether the search ends."""

    def __init__(self) -> None:
        """Say that it goes on."""
        self._ends = False

    def end(self) -> None:
        """Say that it ends: trainings are to save how far they came."""
        self._ends = True

    def ends(self) -> bool:
        """Tell whether it ends."""
        return self._ends


class RayWorker:
    """Does jobs, one after the other, in a folder of its own.

    Files of the study travel, or are taken from its folder and written beside it where that is shared with the driver.
    """

    def __init__(self, threads: int, bulletin: Any, hide_gpus: bool, log_level: str) -> None:
        """Set up this process.

        Args:
            threads: For training.
            bulletin: Handle of the driver's `Bulletin`.
            hide_gpus: Whether this process is to see none: Ray leaves those to it that nobody asked for.
            log_level: The least that it logs.
        """
        if hide_gpus:
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        sweep_temporary()  # of workers that were ended
        self._held = contextlib.ExitStack()
        own = self._held.enter_context(temporary_folder())
        self._folder, self._log = own / "study", own / "printed"
        self._folder.mkdir()
        print(f"AutoCompress: what follows is printed to {self._log}, and travels to the study's own logs/", flush=True)
        prepare_worker(threads, log=self._log, log_level=log_level)
        self._bulletin, self._looked_s, self._ends = bulletin, time.monotonic(), False
        self._context: EvaluationContext | None = None
        self._shared: SharedFolder | None = None
        self._drivers_folder, self._rungs = Path(), 1

    def printed_to(self) -> Path:
        """Return the file on this machine that this process prints to."""
        return self._log

    def open(self, given: Opening) -> Printed:
        """Open the study.

        Returns:
            `Opened`, or why it cannot be opened here: what Ray makes of an error has many lines.
        """
        return self._with_text(self._open(given))

    def do(self, job: Job, parcel: Parcel, shares: bool = False) -> Printed:
        """Do a job.

        Args:
            job: What to do.
            parcel: What is there of it already.
            shares: Whether the driver sees what this worker writes into the shared folder.

        Returns:
            What came of it (`Done`); `Unseen` where files of the parcel are not here; `JobLost` where this machine's
            own disk fails, or the error that ends the study.
        """
        if self._shared is not None:
            try:
                parcel = self._shared.taken(parcel)
            except NotSeen as error:
                return self._with_text(Unseen(str(error), not seen_soon(self._shared.is_seen)))
        return self._with_text(self._do(job, parcel, shares))

    def _with_text(self, found: Any) -> Printed:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):  # a disk that is full
                stream.flush()
        return Printed(found, take_log(self._log))

    def _open(self, given: Opening) -> Opened | WorkerUnusable | TimingHostLost:
        if given.version != (there := version("autocompress")):
            return WorkerUnusable(f"AutoCompress {there} is installed there, {given.version} here")
        try:
            parcel, greeting = self._first_parcel(given)
            unpack(self._folder, parcel)
            task = self._task(given)
            check_identity(self._folder, task, worker=True)
            self._context = open_context(task, given.settings, self._folder, self._stop, worker=True, host=given.host)
            self._drivers_folder, self._rungs = given.folder, len(given.settings.recovery.rungs)
        except TimingHostLost as error:
            return error
        except Exception as error:  # whatever a task's code, its data, or this machine say
            return WorkerUnusable(one_line(error))
        return Opened(platform.node(), greeting)

    def _first_parcel(self, given: Opening) -> tuple[Parcel, str]:
        """Return the files of the study, and the worker's greeting in the shared folder; empty where it has none."""
        if given.shared is None:
            return given.parcel, ""
        self._shared = given.shared
        if greeting := self._shared.greet():
            with contextlib.suppress(NotSeen):
                return self._shared.taken(given.parcel), greeting
        import ray

        whole: Parcel = ray.get(given.whole)
        return whole, greeting

    def _do(self, job: Job, parcel: Parcel, shares: bool) -> Done | JobLost | AutoCompressError:
        try:
            return self._done(job, parcel, shares)
        except (StorageError, OSError) as error:  # of this machine: the driver writes the study
            return JobLost(f"{platform.node()}: {one_line(error)}")
        except AutoCompressError as error:
            return error

    def _done(self, job: Job, parcel: Parcel, shares: bool) -> Done:
        assert self._context is not None, "open() comes first"
        unpack(self._folder, parcel)
        before = stamps(self._folder)
        result = evaluate_in_worker(self._context, job, self._rungs)
        made = made_since(self._folder, before)
        failure = result.failure.replace(str(self._folder), str(self._drivers_folder))
        self._tidy({*parcel.files, *made.files})
        if shares and self._shared is not None:
            with contextlib.suppress(StorageError, OSError):  # it travels then, and the driver tells what its disk says
                made = self._shared.given(made)
        return Done(replace(result, failure=failure), made)

    def _task(self, given: Opening) -> Any:
        if given.task is not None:
            return pickle.loads(given.task)
        task = given.settings.build_task().bare()
        load_weights(task.teacher, self._folder / TEACHER)
        return task.prepared()

    def _tidy(self, names: set[str]) -> None:
        """Remove what only this job needed: a worker does thousands of them."""
        for name in names:
            if not name.startswith(("targets/", "profile/")) or "/latency/" in name:
                (self._folder / name).unlink(missing_ok=True)
        for lock in checkpoints_folder(self._folder).glob("*.lock"):
            lock.unlink(missing_ok=True)
        for folder in (self._folder / "trials").glob("*"):
            with contextlib.suppress(OSError):  # something is left in it
                folder.rmdir()

    def _stop(self) -> bool:
        """Tell whether to end, by a look at the bulletin once in a while."""
        if not self._ends and time.monotonic() - self._looked_s > LOOK_S:
            import ray

            self._looked_s = time.monotonic()
            try:
                self._ends = bool(ray.get(self._bulletin.ends.remote(), timeout=BULLETIN_S))
            except ray.exceptions.RayError:
                return True  # this job goes back; the next one asks again
        return self._ends
