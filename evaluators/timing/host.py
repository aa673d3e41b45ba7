"""The timing host seam: the machine that files are timed on."""

from __future__ import annotations

import platform
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, nullcontext
from dataclasses import dataclass, replace
from typing import Any, Protocol, runtime_checkable

from ...spaces.target import Target
from ..runtimes.registry import get_runtime
from .machine import conditions
from .processes import ProcessTimes, TimingRequest, time_in_fresh_process
from .quiet import QuietMachine, lock_name


class AnotherMachine(Exception):
    """One of several machines alike is gone: what it measured is to be measured on another one."""


class TimingHost(Protocol):
    """A machine that times files: this one, or another one that has the target's hardware.

    Models are built, trained and scored anywhere; what they take is measured where they will run. It may stand for
    several machines that were seen to agree (see `evaluators.agreement`): it is the first of them then, on which a
    study is calibrated and confirmed, and gives others for what is measured in between.
    """

    @property
    def name(self) -> str:
        """The machine's name, as figures carry it."""
        ...

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Time files in one fresh process, while nothing else works on their devices.

        Raises:
            MeasurementError: A file cannot be timed, or the process died.
            RuntimeUnavailable: A runtime cannot run there.
        """
        ...

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return what can change a latency on that machine; see `machine.conditions`.

        Raises:
            UnknownName: There is no such runtime.
            PluginError: The runtime's package is broken.
        """
        ...

    def chosen(self) -> AbstractContextManager[TimingHost]:
        """Give the machine for one measurement, all of whose processes run there: itself, where it is but one.

        Raises:
            AnotherMachine: On leaving, where that machine is gone and there are others.
        """
        ...


Judge = Callable[[TimingHost], str]
"""Returns why a machine cannot take the place of the one that a study is calibrated on; empty where it can."""


@runtime_checkable
class Replaceable(Protocol):
    """A timing host whose machine may die, and another one take its place, while a study is open."""

    def judged_by(self, judge: Judge) -> None:
        """Let no other machine time files before it was judged, in the process that opened the study."""
        ...


@dataclass(frozen=True)
class ThisMachine:
    """The machine that this process runs on.

    Attributes:
        quiet: The lock under which each process runs, by default those of the files' devices.
    """

    quiet: QuietMachine | None = None

    @property
    def name(self) -> str:
        """The machine's own name."""
        return platform.node()

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Time files in one fresh process; see `TimingHost`."""
        with ExitStack() as held:
            devices = sorted({lock_name(file.target.device) for file in request.files})
            locks = [QuietMachine(device) for device in devices] if self.quiet is None else [self.quiet]
            beside = [held.enter_context(lock.measuring()) for lock in locks]
            return replace(time_in_fresh_process(request), beside="; ".join(filter(None, beside)))

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return what can change a latency here; see `TimingHost`."""
        return {"host": self.name, **conditions(target, get_runtime(target.runtime).available().version)}

    def chosen(self) -> AbstractContextManager[TimingHost]:
        """Give this machine; see `TimingHost`."""
        return nullcontext(self)


HERE = ThisMachine()
