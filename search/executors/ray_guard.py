"""Who may time files in the place of a machine that died: Ray starts the service anew, there or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...errors import AutoCompressError, TimingHostLost, one_line
from ...evaluators.timing.host import Judge, TimingHost

Say = Callable[[str], None]


@dataclass(frozen=True)
class Life:
    """One life of the service that times files.

    Attributes:
        key: At random, unlike that of any other life.
        machine: Name of its machine.
        node: Ray's own name for that.
        trusted: Whether the driver lets it time files.
    """

    key: str
    machine: str
    node: str
    trusted: bool


@dataclass(frozen=True)
class Untrusted:
    """What a service answers that the driver has not looked at yet."""

    life: Life


class Guard:
    """Lets a service that began anew time files: on its old machine, or on one that agrees with that on a control.

    It lives in the driver. Workers wait meanwhile.
    """

    def __init__(self, first: Life, say: Say) -> None:
        """Trust the machine that was there first.

        Args:
            first: The life that the driver began.
            say: Takes a line about a machine that takes its place.
        """
        self.judge: Judge | None = None
        self._first, self._say = first, say
        self._nodes = {first.node}

    def look_at(self, life: Life, service: Any, host: TimingHost) -> None:
        """Trust a life, or refuse it, so that whoever has files timed is told why.

        Where the machine is gone meanwhile nothing is decided.

        Args:
            life: That is not trusted.
            service: Handle of the actor.
            host: Has files timed by this one life, trusted or not.
        """
        import ray

        if life.node not in self._nodes:
            try:
                why = self._why_not(host)
            except TimingHostLost:
                return
            if why:
                said = (
                    f"{life.machine} took the place of {self._first.machine}, which timed this study's files and died, "
                    f"and cannot: {why}. Run the same command again, with {self._first.machine} back if that can be"
                )
                ray.get(service.refuse.remote(life.key, said))
                return
            self._say(f"{life.machine} times files in place of {self._first.machine}, which died, and agrees with it")
            self._nodes.add(life.node)
        ray.get(service.trust.remote(life.key))

    def _why_not(self, host: TimingHost) -> str:
        if self.judge is None:
            return "the study was being opened, and nothing is known by which to tell whether it measures alike"
        try:
            return self.judge(host)
        except TimingHostLost:
            raise
        except (AutoCompressError, OSError) as error:
            return one_line(error)[:200]
