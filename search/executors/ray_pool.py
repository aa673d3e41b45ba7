"""Several machines of a Ray cluster that time files, where they were seen to agree."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...errors import AutoCompressError, TimingHostLost, one_line
from ...evaluators.agreement import disagreement
from ...evaluators.timing.host import AnotherMachine, TimingHost
from ...evaluators.timing.processes import ProcessTimes, TimingRequest
from ...spaces.target import Target
from ..evaluate.context import EvaluationContext
from ..evaluate.control import control_files
from .ray_cluster import Say, nodes, on
from .ray_timing import RayTimingHost, TimingService

ANSWER_S = 10.0
"""Seconds that the driver has to say whose turn it is."""
FORGOTTEN_S = 1800.0
"""No measurement takes so long: whoever began it died."""


class Turns:
    """Says which machine measures next: the one with the fewest measurements under way."""

    def __init__(self, count: int) -> None:
        """Begin with so many machines, all free."""
        self._begun_s: dict[int, dict[str, float]] = {number: {} for number in range(count)}

    def take(self, turn: str) -> int:
        """Return the number of a machine, for one measurement with a name of its own."""
        now_s = time.monotonic()
        for number, begun in self._begun_s.items():  # some are of workers that died while they measured
            self._begun_s[number] = {each: at_s for each, at_s in begun.items() if now_s - at_s < FORGOTTEN_S}
        number = min(self._begun_s, key=lambda each: len(self._begun_s[each]))
        self._begun_s[number][turn] = now_s
        return number

    def give_back(self, turn: str) -> None:
        """Note that a measurement is over."""
        for begun in self._begun_s.values():
            begun.pop(turn, None)

    def count(self) -> int:
        """Return how many machines there are."""
        return len(self._begun_s)

    def leave(self, number: int) -> None:
        """Give no machine of this number any more; the first one stays."""
        if number:
            self._begun_s.pop(number, None)


@dataclass(frozen=True)
class RayTimingPool:
    """Machines of a cluster that agree. It can be sent to every worker.

    Attributes:
        hosts: The machines; the study is calibrated on the first.
        turns: Handle of the actor `Turns`.
    """

    hosts: tuple[RayTimingHost, ...]
    turns: Any

    @property
    def name(self) -> str:
        """The first machine's name."""
        return self.hosts[0].name

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Time files on the first machine; see `TimingHost`."""
        return self.hosts[0].time(request)

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return the first machine as it is; see `TimingHost`."""
        return self.hosts[0].conditions(target)

    @contextlib.contextmanager
    def chosen(self) -> Iterator[TimingHost]:
        """Give the machine that has least to do; see `TimingHost`."""
        import ray

        turn, number = uuid.uuid4().hex, 0
        try:
            # Out of reach, or slow: the first machine can always be asked.
            with contextlib.suppress(ray.exceptions.RayError):
                number = int(ray.get(self.turns.take.remote(turn), timeout=ANSWER_S))
            yield self.hosts[number]
        except TimingHostLost:
            if number == 0:
                raise  # all milliseconds hang on this one
            self.turns.leave.remote(number)
            raise AnotherMachine from None
        finally:
            self.turns.give_back.remote(turn)


def pooled(context: EvaluationContext, say: Say) -> TimingHost:
    """Return what workers have their files timed by: all machines with the target's hardware that agree with the first.

    Args:
        context: The driver's, calibrated on the first machine.
        say: Takes a line about each machine that is left out.
    """
    first = context.host
    if not isinstance(first, RayTimingHost):
        return first
    import ray

    taken = first.node
    others = [node for node in nodes() if node.is_target and node.key != taken]
    if not others:
        return first
    agreeing = [first]
    with control_files(context) as controls:
        if not controls:
            say(f"all files are timed on {first.name}: this target has no control to hold other machines against")
        for node in others if controls else ():
            if context.stop():
                break
            service = ray.remote(TimingService).options(num_cpus=0, scheduling_strategy=on(node.key)).remote()
            host = RayTimingHost(service, node.name, patience_s=0.0)
            why = _why_not(context, host, controls)
            if why:
                say(f"nothing is timed on {node.name}: {why}")
                ray.kill(service)
            else:
                agreeing.append(host)
    if len(agreeing) == 1:
        return first
    say(f"files are timed on {len(agreeing)} machines that agree; what is confirmed is on {first.name}")
    here = on(ray.get_runtime_context().get_node_id())
    turns = ray.remote(Turns).options(num_cpus=0, scheduling_strategy=here).remote(len(agreeing))
    ray.get(turns.count.remote())  # a process that only begins would answer nobody in time
    return RayTimingPool(tuple(agreeing), turns)


def _why_not(context: EvaluationContext, host: RayTimingHost, controls: Mapping[str, Path]) -> str:
    """Return why nothing is to be timed on a machine; empty where nothing speaks against it."""
    import ray

    try:
        told = (disagreement(context.sessions[name].meter, host, path) for name, path in controls.items())
        return next(filter(None, told), "")
    except (AutoCompressError, ray.exceptions.RayError, OSError) as error:
        return one_line(error)[:200]
