"""What a driver knows of one actor on a Ray cluster."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from ..evaluate.job import Job, JobResult
from .ray_cluster import Node


@dataclass(eq=False)
class ActorHandle:
    """One actor on a node, and what it does.

    Attributes:
        actor: Its handle.
        node: Where it runs.
        number: Of the worker, from 1 on each machine.
        printed_to: Reference to the file on its machine that it prints to.
        answer: Reference to what comes of what it does now; None while it has nothing to do.
        job: What it does; None while it opens the study.
        future: What the result goes to.
        ready: Whether it has opened the study.
        shares: Whether it reads and writes the study's folder itself; see `SharedFolder`.
        begun_s: When it began that, or has had nothing to do since, on the monotonic clock.
    """

    actor: Any
    node: Node
    number: int
    printed_to: Any
    answer: Any
    job: Job | None = None
    future: Future[JobResult] | None = None
    ready: bool = False
    shares: bool = False
    begun_s: float = 0.0
