"""How files of a study get to workers on a Ray cluster and back: in parcels, or through a folder that all see."""

from __future__ import annotations

from pathlib import Path

from ..evaluate.job import Job
from ..evaluate.parcel import Parcel, job_parcel, unpack
from ..evaluate.shared import NotSeen, SharedFolder
from .base import JobLost
from .ray_actor import ActorHandle
from .ray_cluster import Say
from .ray_worker import Opened, Unseen


class StudyFiles:
    """Sends each worker what its job needs, and takes in what it made.

    Attributes:
        shared: The study's folder where the user says that the machines share it, else None.
    """

    def __init__(self, folder: Path, shared: bool, say: Say) -> None:
        """Offer the folder where it is shared.

        Args:
            folder: The study's.
            shared: Whether machines may see it.
            say: Takes a line about a machine that does not.

        Raises:
            StorageError: The folder cannot be written.
        """
        self.shared = SharedFolder.offered(folder) if shared else None
        self._folder, self._say = folder, say
        self._told: set[str] = set()

    def meet(self, worker: ActorHandle, opened: Opened) -> None:
        """Take in whether a worker that has opened the study shares its folder."""
        if self.shared is not None:
            worker.shares = self.shared.hears(opened.greeting)
            if not worker.shares:
                self._tell(worker)

    def parcel(self, worker: ActorHandle, job: Job) -> Parcel:
        """Return what a worker is sent with a job."""
        return job_parcel(self._folder, job, linked=worker.shares)

    def whole_parcel(self, worker: ActorHandle, job: Job, unseen: Unseen) -> Parcel:
        """Return what a worker is sent with a job whose files it did not see."""
        if unseen.all_of_it:
            worker.shares = False
            self._tell(worker)
        return job_parcel(self._folder, job)

    def take_in(self, worker: ActorHandle, made: Parcel) -> None:
        """Bring what a worker made into the study.

        Raises:
            StorageError: The disk is full or cannot be written, or a path leads out of the study.
            JobLost: It was written into the shared folder, and is not seen here.
        """
        if self.shared is None:
            unpack(self._folder, made)
            return
        try:
            self.shared.receive(made)
        except NotSeen as error:
            worker.shares = False
            self._tell(worker)
            raise JobLost(f"{worker.node.name}: {error}") from error

    def close(self) -> None:
        """Offer the folder no longer."""
        if self.shared is not None:
            self.shared.withdraw()

    def _tell(self, worker: ActorHandle) -> None:
        if worker.node.key not in self._told:
            self._told.add(worker.node.key)
            self._say(f"{worker.node.name} cannot read and write {self._folder}: files travel to it and back")
