"""Which machines of a Ray cluster do jobs, how many each, and which are left out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence

from ...cores import usable_cores
from ...studies.schema import SearchSection
from .ray_cluster import Node, Say

USUAL_CPUS = 4
"""Cores of a job on a cluster that was joined."""
MOST_LOST = 3
"""A machine that lost so many jobs one after the other gets no more."""


class Machines:
    """Knows what became of jobs on each machine. Those with the target's hardware train where no others can."""

    def __init__(self, search: SearchSection, most: int | None, own: bool, say: Say) -> None:
        """Begin with no bad word of any machine.

        Args:
            search: What a job has.
            most: Jobs at a time on all of them; None for as many as there is room for.
            own: Whether they are this one alone, whose cores are shared out between jobs.
            say: Takes a line about a machine that is left out.
        """
        self._search, self._most, self._own, self._say = search, most, own, say
        self._lost: Counter[str] = Counter()
        self._left: dict[str, str] = {}
        self._known: dict[str, str] = {}

    def tell(self, found: Sequence[Node]) -> None:
        """Say which machines have come and gone since the last look."""
        before, self._known = self._known, {node.key: node.name for node in found}
        for key, name in before.items():
            if key not in self._known:
                self._say(f"machine {name} is gone: what it did is done again elsewhere")
        for key, name in self._known.items():
            if before and key not in before:
                self._say(f"machine {name} has joined")

    def cpus(self, node: Node) -> int:
        """Return how many cores a job has there."""
        if self._search.cpus_per_job is not None:
            return self._search.cpus_per_job
        if self._own:
            return max(1, min(int(node.cpus), usable_cores()) // (self._most or 1))
        return max(1, min(USUAL_CPUS, int(node.cpus)))

    def room(self, node: Node) -> int:
        """Return how many jobs at a time it has room for."""
        gpus = self._search.gpus_per_job
        room = int(node.cpus // self.cpus(node))
        return min(room, int(node.gpus / gpus)) if gpus else room

    def able(self, found: Sequence[Node]) -> list[Node]:
        """Return the machines that have room for a job, be they left out or not."""
        able = [node for node in found if self.room(node)]
        return [node for node in able if not node.is_target] or able

    def free_places(self, found: Sequence[Node], taken: Callable[[Node], int]) -> Iterator[Node]:
        """Yield the machines that another worker has room on, one place of each in turn.

        Args:
            found: The machines of the cluster.
            taken: Returns the number of workers on one.
        """
        usable = [node for node in self.able(found) if node.key not in self._left]
        count = sum(map(taken, found))
        for turn in range(max(map(self.room, usable), default=0)):
            for node in usable:
                if taken(node) <= turn < self.room(node) and (self._most is None or count < self._most):
                    count += 1
                    yield node

    def why_none(self, found: Sequence[Node]) -> str:
        """Return why no machine does jobs any more; empty where one does, or none is there now."""
        able = self.able(found)
        if not able or any(node.key not in self._left for node in able):
            return ""
        return self._left[able[0].key]

    def went_well(self, node: Node) -> None:
        """Take in that a job came to its end."""
        self._lost[node.key] = 0

    def lost(self, node: Node, why: str) -> None:
        """Take in that a job was lost there."""
        self._lost[node.key] += 1
        if self._lost[node.key] >= MOST_LOST:
            self.leave(node, f"lost {MOST_LOST} jobs one after the other, the last one because {why}")

    def leave(self, node: Node, why: str) -> None:
        """Begin nothing there any more."""
        if node.key not in self._left:
            self._left[node.key] = f"{node.name} {why}"
            self._say(f"{node.name} {why}; going on without it")
