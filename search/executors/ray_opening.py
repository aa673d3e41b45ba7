"""What processes of a Ray cluster are made with."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import version

from ...errors import MeasurementError
from ...evaluators.timing.host import TimingHost
from ..evaluate.parcel import opening_parcel
from ..evaluate.shared import SharedFolder
from .base import ExecutorContext
from .ray_cluster import pickled
from .ray_worker import Opening


def opening_of(context: ExecutorContext, host: TimingHost, shared: SharedFolder | None = None) -> Opening:
    """Return what a worker anywhere opens the study with.

    Args:
        context: What is worked for.
        host: Times its files.
        shared: The study's folder, where other machines may see it; Ray must have been joined then.

    Raises:
        MeasurementError: The task cannot be sent to other processes.
    """
    task = pickled(context.context.task, context.settings, context.folder)
    if task is None and not context.travels:
        raise MeasurementError("this task cannot be sent to other machines; write it into a file: --task")
    parcel = opening_parcel(context.folder, teacher=task is None)
    found = Opening(version("autocompress"), context.settings, context.folder, task, parcel, host)
    if shared is None:
        return found
    import ray

    named = opening_parcel(context.folder, teacher=task is None, linked=True)
    return replace(found, parcel=named, shared=shared, whole=ray.put(parcel))


def hides_gpus(context: ExecutorContext) -> bool:
    """Tell whether workers are to see no GPU: none was asked for, and files for a GPU are built and scored on one."""
    return not context.settings.search.gpus_per_job and all(t.device == "cpu" for t in context.context.targets)
