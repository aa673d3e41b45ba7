"""Several machines of a Ray cluster that time files, where they were seen to agree."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from ...errors import MeasurementError, RuntimeUnavailable, TimingHostLost, one_line
from ...evaluators.agreement import disagreement
from ...evaluators.timing.host import AnotherMachine, TimingHost
from ...evaluators.timing.processes import ProcessTimes, TimingRequest
from ...spaces.target import Target
from ..evaluate.context import EvaluationContext
from ..evaluate.control import control_files
from .ray_cluster import Say, nodes, on
from .ray_timing import RayTimingHost, TimingService


class Turns:
    """Says which machine measures next: the one with the fewest measurements under way."""

    def __init__(self, count: int) -> None:
        """Begin with so many machines, all free."""
        self._under_way: dict[int, int] = dict.fromkeys(range(count), 0)

    def take(self) -> int:
        """Return the number of a machine, for one measurement."""
        number = min(self._under_way, key=lambda each: self._under_way[each])
        self._under_way[number] += 1
        return number

    def give_back(self, number: int) -> None:
        """Note that a measurement is over."""
        if number in self._under_way:
            self._under_way[number] -= 1

    def leave(self, number: int) -> None:
        """Give no machine of this number any more; the first one stays."""
        if number:
            self._under_way.pop(number, None)


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

        number = ray.get(self.turns.take.remote())
        try:
            yield self.hosts[number]
        except TimingHostLost:
            if number == 0:
                raise  # all milliseconds hang on this one
            ray.get(self.turns.leave.remote(number))
            raise AnotherMachine from None
        finally:
            self.turns.give_back.remote(number)


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
    agreeing = [first]
    with control_files(context) as controls:
        for node in others if controls else ():
            service = ray.remote(TimingService).options(num_cpus=0, scheduling_strategy=on(node.key)).remote()
            host = RayTimingHost(service, node.name, patience_s=0.0)
            try:
                told = (disagreement(context.sessions[name].meter, host, path) for name, path in controls.items())
                why = next(filter(None, told), "")
            except (MeasurementError, RuntimeUnavailable, TimingHostLost) as error:
                why = one_line(error)
            if why:
                say(f"nothing is timed on {node.name}: {why}")
                ray.kill(service)
            else:
                agreeing.append(host)
    if others and not controls:
        say(f"all files are timed on {first.name}: this target has no control to hold other machines against")
    if len(agreeing) == 1:
        return first
    say(f"files are timed on {len(agreeing)} machines that agree; what is confirmed is on {first.name}")
    here = on(ray.get_runtime_context().get_node_id())
    return RayTimingPool(
        tuple(agreeing), ray.remote(Turns).options(num_cpus=0, scheduling_strategy=here).remote(len(agreeing))
    )
