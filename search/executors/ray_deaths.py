"""What became of a process of a Ray cluster, from what Ray raises."""

from __future__ import annotations

from ...errors import one_line
from .base import JobLost, WorkerDied

SAID = "The actor is dead because"


def why_ended(error: BaseException, machine: str, gone: bool = False) -> WorkerDied | JobLost:
    """Tell a process that died from a job that is not to blame, lost with its machine or on its way.

    Args:
        error: What Ray raised.
        machine: Name of the machine.
        gone: Whether the machine is known to be gone.
    """
    from ray.exceptions import ActorDiedError, ObjectLostError, OutOfMemoryError, RayActorError, RayTaskError

    if isinstance(error, RayTaskError) and not gone:
        return JobLost(f"{machine}: {one_line(str(error.cause))[:160]}")
    said = str(error)
    # a machine that loses its power is taken for alive for some seconds
    if isinstance(error, (ActorDiedError, OutOfMemoryError)) and not gone and "node has died" not in said:
        why = one_line(said[max(0, said.find(SAID)) :])[:160]
        return WorkerDied(f"the process that did it died on {machine} ({why})")
    if gone or isinstance(error, (RayActorError, ObjectLostError)):
        return JobLost(f"{machine} is gone")
    return JobLost(f"{machine}: what it sent cannot be read ({one_line(error)[:160]})")
