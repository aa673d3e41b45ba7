"""Several machines of a Ray cluster that time files, where they were seen to agree."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import AutoCompressError, StorageError, TimingHostLost, one_line
from ...evaluators.agreement import disagreement, tells_nothing
from ...evaluators.timing.host import AnotherMachine, TimingHost
from ...evaluators.timing.processes import ProcessTimes, TimingRequest
from ...spaces.target import Target
from ..evaluate.context import EvaluationContext
from ..evaluate.control import control_files
from .ray_cluster import Node, Say, nodes, on
from .ray_retries import Retries
from .ray_timing import RayTimingHost, TimingService

ANSWER_S = 10.0
"""Seconds that the driver has to say whose turn it is."""
FORGOTTEN_S = 1800.0
"""No measurement takes so long: whoever began it died."""


class Turns:
    """Says which machine measures next: the one with the fewest measurements under way. More may come at any time."""

    def __init__(self, first: RayTimingHost) -> None:
        """Begin with the machine that a study is calibrated on, which stays."""
        self._hosts = {0: first}
        self._begun_s: dict[int, dict[str, float]] = {0: {}}
        self._came = 1

    def add(self, host: RayTimingHost) -> int:
        """Take in another machine; return how many there are."""
        self._hosts[self._came], self._begun_s[self._came] = host, {}
        self._came += 1
        return len(self._hosts)

    def take(self, turn: str) -> tuple[int, RayTimingHost]:
        """Return a machine and its number, for one measurement with a name of its own."""
        now_s = time.monotonic()
        for number, begun in self._begun_s.items():  # some are of workers that died while they measured
            self._begun_s[number] = {each: at_s for each, at_s in begun.items() if now_s - at_s < FORGOTTEN_S}
        number = min(self._begun_s, key=lambda each: len(self._begun_s[each]))
        self._begun_s[number][turn] = now_s
        return number, self._hosts[number]

    def give_back(self, turn: str) -> None:
        """Note that a measurement is over."""
        for begun in self._begun_s.values():
            begun.pop(turn, None)

    def count(self) -> int:
        """Return how many machines there are."""
        return len(self._hosts)

    def leave(self, number: int) -> None:
        """Give no machine of this number any more; the first one stays."""
        if number:
            self._hosts.pop(number, None)
            self._begun_s.pop(number, None)


@dataclass(frozen=True)
class RayTimingPool:
    """Machines of a cluster that agree. It can be sent to every worker.

    Attributes:
        first: The machine that the study is calibrated on.
        turns: Handle of the actor `Turns`, which knows all of them.
    """

    first: RayTimingHost
    turns: Any
    _known: dict[int, RayTimingHost] = field(default_factory=dict)  # they remember what files hold

    @property
    def name(self) -> str:
        """The first machine's name."""
        return self.first.name

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Time files on the first machine; see `TimingHost`."""
        return self.first.time(request)

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return the first machine as it is; see `TimingHost`."""
        return self.first.conditions(target)

    @contextlib.contextmanager
    def chosen(self) -> Iterator[TimingHost]:
        """Give the machine that has least to do; see `TimingHost`."""
        import ray

        turn, number, host = uuid.uuid4().hex, 0, self.first
        try:
            # Out of reach, or slow: the first machine can always be asked.
            with contextlib.suppress(ray.exceptions.RayError):
                number, found = ray.get(self.turns.take.remote(turn), timeout=ANSWER_S)
                host = self._known.setdefault(number, found) if number else self.first
            yield host
        except TimingHostLost:
            if number == 0:
                raise  # all milliseconds hang on this one
            self.turns.leave.remote(number)
            raise AnotherMachine from None
        finally:
            self.turns.give_back.remote(turn)


class TimingMachines:
    """The machines of a cluster that time files for a search: also those that join while it runs.

    Attributes:
        host: What workers have their files timed by.
    """

    def __init__(self, context: EvaluationContext, say: Say) -> None:
        """Look at the machines that are there.

        Args:
            context: The driver's, calibrated on the first machine.
            say: Takes a line about each machine that is used or left out.
        """
        self.host: TimingHost = context.host
        self._context, self._say = context, say
        self._seen: set[str] = set()
        self._retries = Retries()
        self._turns: Any = None
        self._hosts: list[RayTimingHost] = []  # an actor ends with the last handle of it
        self._asked: Any = None
        if isinstance(context.host, RayTimingHost):
            import ray

            self._seen.add(context.host.node)
            here = on(ray.get_runtime_context().get_node_id())
            self._turns = ray.remote(Turns).options(num_cpus=0, scheduling_strategy=here).remote(context.host)
            ray.get(self._turns.count.remote())  # a process that only begins would answer nobody in time
            self.host = RayTimingPool(context.host, self._turns)
            self.look(nodes())

    def look(self, found: Sequence[Node]) -> None:
        """Take in the machines with the target's hardware that are new and agree with the first.

        To hold one against the first takes some seconds, once, or some times where other work disturbs it. So does
        looking at one that took the place of the first.

        Args:
            found: The machines of the cluster.
        """
        self.look_at_first()
        new = [node for node in found if node.is_target and node.key not in self._seen]
        new = [node for node in new if self._retries.is_due(node.key)]
        if self._turns is None or not new:
            return
        try:
            with control_files(self._context) as controls:
                self._look_at(new, controls)
        except StorageError as error:  # of the driver's own disk
            for node in new:
                self._decide(node, one_line(error)[:200], is_sure=False)

    def look_at_first(self) -> None:
        """See whether the first machine died and another took its place, as far as it has answered since last time."""
        import ray

        if not isinstance(first := self._context.host, RayTimingHost):
            return
        with contextlib.suppress(ray.exceptions.RayError):  # it is gone: another one may come
            asked, self._asked = self._asked or first.service.life.remote(), None
            if not ray.wait([asked], timeout=0)[0]:
                self._asked = asked  # it measures
                return
            first.look_over(ray.get(asked))

    def _look_at(self, new: Sequence[Node], controls: Mapping[str, Path]) -> None:
        """Hold machines against the first, as far as there is something to hold them against."""
        if not controls:
            self._seen |= {node.key for node in new}
            first = self.host.name
            self._say(f"all files are timed on {first}: this target has no control to hold other machines against")
        for node in new if controls else ():
            if self._context.stop():
                break
            self._hold_against_first(node, controls)

    def _hold_against_first(self, node: Node, controls: Mapping[str, Path]) -> None:
        import ray

        service = ray.remote(TimingService).options(num_cpus=0, scheduling_strategy=on(node.key)).remote()
        host = RayTimingHost(service, node.name, patience_s=0.0)
        why, is_sure = self._why_not(host, controls)
        if why:
            self._decide(node, why, is_sure)
            ray.kill(service)
            return
        self._seen.add(node.key)
        self._hosts.append(host)
        count = ray.get(self._turns.add.remote(host))
        self._say(f"files are timed on {count} machines that agree; what is confirmed is on {self.host.name}")

    def _decide(self, node: Node, why: str, is_sure: bool) -> None:
        """Leave a machine out for good, or until it is looked at again where that may tell more."""
        is_first = self._retries.is_first(node.key)
        again = not is_sure and self._retries.told_nothing(node.key)
        if not again:
            self._seen.add(node.key)
        if is_first or not again:
            self._say(f"nothing is timed on {node.name}{' yet' if again else ''}: {why}")

    def _why_not(self, host: RayTimingHost, controls: Mapping[str, Path]) -> tuple[str, bool]:
        """Return why nothing is to be timed on a machine, empty where all is well, and whether that is for good."""
        import ray

        sessions = self._context.sessions
        try:
            told = (disagreement(sessions[name].meter, host, path) for name, path in controls.items())
            why = next(filter(None, told), "")
        except (AutoCompressError, ray.exceptions.RayError, OSError) as error:
            return one_line(error)[:200], not isinstance(error, StorageError | OSError)
        return why, not tells_nothing(why)
