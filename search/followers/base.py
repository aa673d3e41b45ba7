"""The seam of followers: what logs the trials of a search elsewhere, as each of them ends."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from ...spaces.variables import Option

SECRET = re.compile(r"(?<=://)\S*@|(?<=password=)[^&\s]*")
"""What stands before the machine of an address: a password, or a token in place of a name."""


def without_password(text: str) -> str:
    """Return text in which addresses show no password; libraries repeat addresses in their errors."""

    def hidden(found: re.Match[str]) -> str:
        name, colon, _ = found[0].partition(":")
        if not found[0].endswith("@"):
            return "***"
        return f"{name}:***@" if colon else "***@"

    return SECRET.sub(hidden, text)


@dataclass(frozen=True)
class FollowedStudy:
    """The study that is followed.

    Attributes:
        name: Of its folder.
        identity: Told apart by this from other studies of the same name, wherever its folder lies.
        objectives: Names of what its front trades off.
    """

    name: str
    identity: str
    objectives: tuple[str, ...] = ()


@dataclass(frozen=True)
class EndedTrial:
    """A trial that ended, in plain figures by name.

    Attributes:
        number: Of the trial.
        state: "finished", "gated" or "failed".
        label: Who proposed it, in words.
        reason: Why it ended, where it did not finish.
        decisions: Every decision of its plan as users are shown it, by the name of its variable.
        figures: What was measured, by name: the objectives, and of each file the metric, latencies (ms) and sizes
            (bytes). Empty where nothing was.
        seconds: Time spent, by kind of work.
        rungs: Metric after each rung, as a search keeps it (higher is better).
        begun_at_s: When it began, in seconds since 1970.
        ended_at_s: When it ended, likewise.
        searched_s: Seconds of searching, over all runs of the study, after which it ended.
        hypervolume: Of the front once it had ended, as a share; None where there is none yet.
    """

    number: int
    state: str
    label: str
    reason: str = ""
    decisions: Mapping[str, Option] = field(default_factory=dict)
    figures: Mapping[str, float] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    rungs: tuple[float, ...] = ()
    begun_at_s: float = 0.0
    ended_at_s: float = 0.0
    searched_s: float = 0.0
    hypervolume: float | None = None


class Follower(Protocol):
    """Logs trials elsewhere. Its methods are called by one thread of its own, and may raise anything.

    What it raises costs a line, never the search; it is opened again when the next trial ends.
    """

    @property
    def where(self) -> str:
        """Where it logs to, for what is told to users, without passwords."""
        ...

    def open(self, study: FollowedStudy) -> Collection[int]:
        """Begin, or begin again.

        Returns:
            Numbers of the trials that are there already, whole.
        """
        ...

    def add(self, trial: EndedTrial) -> None:
        """Log a trial that is not there yet. It is there, whole, once this returns."""
        ...

    def close(self) -> None:
        """End, as no trial follows."""
        ...
