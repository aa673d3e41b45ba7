"""Who may time files in the place of a machine that died: Ray starts the service anew, there or on another machine."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ...errors import AutoCompressError, StorageError, TimingHostLost, one_line
from ...evaluators.agreement import tells_nothing
from ...evaluators.timing.host import Judge, TimingHost
from .ray_retries import PATIENCE_S, Retries

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
        self._retries = Retries()

    def verdict(self, life: Life, host: TimingHost) -> str | None:
        """Return why a life is refused, in words for whoever has files timed; empty where it is trusted.

        None where nothing is decided: the machine is gone meanwhile; or, until `PATIENCE_S` are over, other work ran so
        that a look tells nothing, or the driver's own disk gave an error.

        Args:
            life: That is not trusted.
            host: Has files timed by this one life, trusted or not.
        """
        if life.node in self._nodes:
            return ""
        if not self._retries.is_due(life.node):
            return None
        try:
            why, is_sure = self._why_not(host)
        except TimingHostLost:
            return None
        first = self._first.machine
        if not why:
            self._say(f"{life.machine} times files in place of {first}, which died, and agrees with it")
            self._nodes.add(life.node)
            return ""
        is_first_look = self._retries.is_first(life.node)
        if not is_sure and self._retries.told_nothing(life.node):
            if is_first_look:
                self._say(f"{life.machine} waits to time files in place of {first}, which died: {why}")
            return None
        tried = "" if is_sure else f", for {PATIENCE_S / 60:.0f} minutes"
        return (
            f"{life.machine} took the place of {first}, which timed this study's files and died, and cannot: "
            f"{why}{tried}. Run the same command again, with {first} back if that can be"
        )

    def _why_not(self, host: TimingHost) -> tuple[str, bool]:
        """Return why a machine cannot time files, empty where it can, and whether a later look would say the same."""
        if self.judge is None:
            return "the study was being opened, and nothing is known by which to tell whether it measures alike", True
        try:
            why = self.judge(host)
        except TimingHostLost:
            raise
        except (AutoCompressError, OSError) as error:  # of the driver's own disk, but where a file cannot be timed
            return one_line(error)[:200], not isinstance(error, StorageError | OSError)
        return why, not tells_nothing(why)
