"""The desk: an actor beside the driver that hands jobs to the actors of Tune's trials, and takes what came of them.

What Tune carries itself (configurations, metrics) is logged and kept; weights and models are too large for that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ...errors import AutoCompressError
from ..evaluate.parcel import Parcel
from ..executors.base import JobLost
from ..executors.ray_worker import Done
from ..next_job import Assignment

Found = Done | JobLost | AutoCompressError
"""What came of a job; see `executors.ray_worker.RayWorker.do`."""


@dataclass(frozen=True)
class Post:
    """What a trial is to do in its next step.

    Attributes:
        ticket: Unlike that of any other post: what came of an earlier one is dropped.
        assigned: The job; None where it is only to report.
        parcel: What is there of the job already.
        report: What it reports; empty with a job.
    """

    ticket: int
    assigned: Assignment | None = None
    parcel: Parcel = field(default_factory=Parcel)
    report: Mapping[str, Any] = field(default_factory=dict)


class Desk:
    """Keeps one post for each trial until it is taken off by the next, with what came of it."""

    def __init__(self) -> None:
        """Begin empty."""
        self._posts: dict[int, Post] = {}
        self._found: dict[int, tuple[int, Found]] = {}
        self._ends = False

    def put(self, number: int, post: Post) -> None:
        """Keep what a trial is to do next.

        Args:
            number: Of the trial.
            post: The post.
        """
        self._posts[number] = post
        self._found.pop(number, None)

    def take(self, number: int) -> Post | None:
        """Return what a trial is to do next. It stays here: the actor may die of it."""
        return self._posts.get(number)

    def bring(self, number: int, ticket: int, found: Found) -> None:
        """Keep what came of a post, unless another one has taken its place.

        Args:
            number: Of the trial.
            ticket: Of the post.
            found: What came of it.
        """
        if number in self._posts and self._posts[number].ticket == ticket:
            self._found[number] = ticket, found

    def collect(self, number: int) -> Found | None:
        """Return what came of the last post of a trial, and drop both; None where nothing came."""
        self._posts.pop(number, None)
        found = self._found.pop(number, None)
        return None if found is None else found[1]

    def end(self) -> None:
        """Say that the search ends: trainings are to save how far they came."""
        self._ends = True

    def ends(self) -> bool:
        """Tell whether it ends; see `executors.ray_worker.Bulletin`."""
        return self._ends
