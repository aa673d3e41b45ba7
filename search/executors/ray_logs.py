"""What workers on a Ray cluster print, brought into the study's folder: a file for each place of a worker."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..store.logs import add_to_log, take_log, worker_log_path

FETCH_S = 20.0
"""Seconds in which a machine must hand over the last words of a process that died there."""


@dataclass(frozen=True)
class Printed:
    """What a worker gives back.

    Attributes:
        found: What came of what it was asked for.
        text: What it printed meanwhile.
    """

    found: Any
    text: bytes = b""


@dataclass(frozen=True)
class _Fetched:
    answer: Any
    log: Path
    until_s: float


class WorkerLogs:
    """Writes the logs of workers. They share no folder with the driver, so that their words travel.

    What a worker prints comes back with what it was asked for. The rest is fetched from its machine when its process
    has died, unless the machine is gone too.
    """

    def __init__(self, folder: Path) -> None:
        """Write into a study's folder."""
        import ray

        self._ray: Any = ray
        self._folder = folder
        self._awaited: list[_Fetched] = []

    def path(self, host: str, number: int) -> Path:
        """Return the log of a worker, by its machine's name and its number there."""
        return worker_log_path(self._folder, number, host)

    def add(self, host: str, number: int, text: bytes) -> None:
        """Write what a worker has printed."""
        add_to_log(self.path(host, number), text)

    def died(self, host: str, number: int, why: str, printed_to: Any, where: Any) -> None:
        """Write that a worker is gone, and fetch what it printed last, as far as its machine is there.

        Args:
            host: Name of its machine.
            number: Of the worker there.
            why: What became of it, in a line.
            printed_to: Reference to the path of the file that it printed to, on its own machine.
            where: What places a task on that machine.
        """
        moment = time.strftime("%Y-%m-%d %H:%M:%S %z")
        self.add(host, number, f"{moment} {why}\n".encode())
        with contextlib.suppress(self._ray.exceptions.RayError):  # it died before it could say where it prints
            path = self._ray.get(printed_to, timeout=0)
            task = self._ray.remote(take_log).options(num_cpus=0, max_retries=0, scheduling_strategy=where)
            self._awaited.append(_Fetched(task.remote(path), self.path(host, number), time.monotonic() + FETCH_S))

    def look(self) -> None:
        """Take in what has come since."""
        still = []
        for each in self._awaited:
            done, _ = self._ray.wait([each.answer], timeout=0)
            if done:
                with contextlib.suppress(Exception):  # whatever becomes of a machine: its last words are lost
                    add_to_log(each.log, self._ray.get(each.answer))
            elif time.monotonic() < each.until_s:
                still.append(each)
        self._awaited = still

    def close(self, until_s: float) -> None:
        """Wait for what is still to come, until this moment of the monotonic clock."""
        self.look()
        while self._awaited and time.monotonic() < until_s:
            time.sleep(0.1)
            self.look()
