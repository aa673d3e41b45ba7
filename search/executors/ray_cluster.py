"""A Ray cluster: how it is joined, which machines it has, and how a task travels to them."""

from __future__ import annotations

import logging
import os
import pickle
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import Any

from ...errors import RuntimeUnavailable, one_line
from ...evaluators.timing.host import HERE, TimingHost
from ...spaces.axes.size import SizeAxis
from ...studies.loading import USERS
from ...studies.prepared import PreparedTask
from ...studies.schema import SearchSection
from ...studies.study_file import StudyFile
from ..evaluate.look import look_at_teacher
from .ray_guard import Guard, Life
from .ray_timing import RESOURCE, RayTimingHost, TimingService

Say = Callable[[str], None]
OWN = "autocompress-own"
"""The namespace of a cluster that was started here: it lives as long as its search."""
ANSWER_S = 120.0
"""Seconds in which the machine that times files must answer."""


@dataclass(frozen=True)
class Node:
    """A machine of a cluster.

    Attributes:
        key: Ray's own name for it.
        name: Its host name.
        cpus: Its cores, as Ray counts them.
        gpus: Its GPUs.
        is_target: Whether it has the target's hardware.
    """

    key: str
    name: str
    cpus: float
    gpus: float
    is_target: bool


def join(search: SearchSection) -> bool:
    """Join a cluster, or start one on this machine.

    Args:
        search: Names the cluster's address; without one, RAY_ADDRESS does.

    Returns:
        Whether it was there before: else it is this search's own.

    Raises:
        RuntimeUnavailable: The cluster cannot be joined.
    """
    # what becomes of machines is told in a line; Ray would print their last words, some hundred lines
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    import ray

    address = search.address or os.environ.get("RAY_ADDRESS") or "local"  # without any, Ray joins what runs here
    if ray.is_initialized():
        here = ray.get_runtime_context()
        if search.address not in ("", "auto", "local", here.gcs_address):
            raise RuntimeUnavailable(
                f"this process is part of the Ray cluster {here.gcs_address}, and {search.address} was asked for; "
                "leave one of them"
            )
        return bool(here.namespace != OWN)
    try:
        with _quiet_about_tokens():
            ray.init(
                address=address,
                namespace=OWN if address == "local" else None,
                log_to_driver=False,
                configure_logging=False,
                include_dashboard=False,
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        where = "this machine" if address == "local" else address
        raise RuntimeUnavailable(
            f"no Ray cluster answers at {where} ({one_line(error)[:160]}); start one with `ray start --head`, correct "
            "--address, or set RAY_AUTH_MODE=token where it asks for the token in ~/.ray/auth_token"
        ) from error
    return address != "local"


@contextmanager
def _quiet_about_tokens() -> Iterator[None]:
    """Meanwhile, drop what Ray warns of in every process: whether its cluster asks for the token in ~/.ray."""
    logger = logging.getLogger("ray._private.authentication")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def nodes() -> list[Node]:
    """Return the machines that are there now."""
    import ray

    found = []
    for each in ray.nodes():
        if each.get("Alive"):
            has = each.get("Resources", {})
            name = each.get("NodeManagerHostname", "")
            found.append(Node(each["NodeID"], name, has.get("CPU", 0.0), has.get("GPU", 0.0), bool(has.get(RESOURCE))))
    return found


def timing_host(search: SearchSection, say: Say) -> TimingHost:
    """Return the machine of a cluster that times files: one that offers the target's hardware.

    Where none offers it, it is this one.

    Raises:
        RuntimeUnavailable: The cluster cannot be joined.
    """
    if not join(search):
        return HERE
    import ray

    if any(node.is_target for node in nodes()):
        # a small part: other searches on the cluster time there as well, and the machine's own locks keep them apart
        return _started(say, {"resources": {RESOURCE: 0.001}})
    say(
        f"no machine of the cluster offers the resource {RESOURCE!r} (ray start --resources='{{\"{RESOURCE}\": 1}}'): "
        "files are timed on this one"
    )
    return _started(say, {"scheduling_strategy": on(ray.get_runtime_context().get_node_id())})


def on(node: str) -> Any:
    """Return what places an actor on a node, and nowhere else."""
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    return NodeAffinitySchedulingStrategy(node, soft=False)


def _started(say: Say, where: dict[str, Any]) -> RayTimingHost:
    import ray

    service = ray.remote(TimingService).options(num_cpus=0, max_restarts=-1, **where).remote(trusted=False)
    try:
        life: Life = ray.get(service.life.remote(), timeout=ANSWER_S)
        ray.get(service.trust.remote(life.key), timeout=ANSWER_S)
    except ray.exceptions.RayError as error:
        raise RuntimeUnavailable(
            f"the machine that is to time files does not answer ({one_line(error)[:160]}); see that AutoCompress is "
            "installed there"
        ) from error
    say(f"files are timed on {life.machine}")
    return RayTimingHost(service, life.machine, guard=Guard(life, say))


def pickled(task: PreparedTask, settings: StudyFile, folder: Path) -> bytes | None:
    """Return a task as bytes that a worker anywhere can read; None where it cannot travel.

    Code of the user's own files travels with it, so that no worker needs them. The network as it was before it was
    captured stays here, where what the study's folder keeps of it is enough.

    Args:
        task: The task.
        settings: The study's settings.
        folder: The study's folder.
    """
    from ray import cloudpickle

    for each in (replace(task, bare=None), *([task] if SizeAxis.name in settings.space.axes else [])):
        try:
            with _by_value(settings.folder):
                found = bytes(cloudpickle.dumps(each))
            if _is_same(task, pickle.loads(found), settings.space.axes, folder):
                return found
        except Exception:  # pickling runs the user's own code, which may raise anything
            continue
    return None


def _is_same(task: PreparedTask, again: PreparedTask, axes: Collection[str], folder: Path) -> bool:
    """Tell whether a teacher is what it was: the code of its graph is traced anew where it is unpickled."""
    one, other = (look_at_teacher(each, axes, folder) for each in (task, again))
    blocks = [[(block.name, block.layers) for block in each.blocks] for each in (one, other)]
    sizes = [[resizing.size for resizing in each.resizings] for each in (one, other)]
    own = [{name: (s.layers, s.groups) for name, s in each.students.items()} for each in (one, other)]
    return (one.layers, one.groups, blocks[0], sizes[0], own[0]) == (
        other.layers,
        other.groups,
        blocks[1],
        sizes[1],
        own[1],
    )


@contextmanager
def _by_value(folder: Path) -> Iterator[None]:
    """Let what was imported from a folder be pickled as it is, not by its name."""
    from ray import cloudpickle

    files = {}
    for module in list(sys.modules.values()):
        file, name = getattr(module, "__file__", None), getattr(module, "__name__", "")
        if file is not None and name != "__main__" and name.partition(".")[0] != "autocompress":
            files[name] = module, Path(file).resolve()
    roots = {folder.resolve(), *(path.parent for name, (_, path) in files.items() if name.startswith(USERS))}
    taken: list[ModuleType] = []
    try:
        for module, path in files.values():
            if any(map(path.is_relative_to, roots)) and not {"site-packages", "dist-packages"} & set(path.parts):
                cloudpickle.register_pickle_by_value(module)
                taken.append(module)
        yield
    finally:
        for module in taken:
            cloudpickle.unregister_pickle_by_value(module)
