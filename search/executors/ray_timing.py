"""Timing on the machine of a Ray cluster that has the target's hardware."""

from __future__ import annotations

import contextlib
import hashlib
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...errors import AutoCompressError, TimingHostLost, one_line
from ...evaluators.score import parts_of
from ...evaluators.timing.host import HERE, TimingHost
from ...evaluators.timing.processes import ProcessTimes, TimedFile, TimingRequest
from ...files import digest
from ...spaces.target import Target
from ...temporary import sweep_temporary, temporary_folder

RESOURCE = "autocompress_target"
"""The custom resource of Ray that machines with the target's hardware offer: `ray start --resources`."""
PATIENCE_S = 600.0
"""Seconds that the only machine which times files is waited for."""
PAUSE_S = 2.0
MOST_KEPT = 200
"""Files that are kept on the target's machine, those that were used last."""
T = TypeVar("T")


class TimingService:
    """Times files that others send it. Ray lets it do one thing after the other."""

    def __init__(self) -> None:
        """Make a folder for files."""
        sweep_temporary()  # of those whose processes were ended
        self._held = contextlib.ExitStack()
        self._folder = self._held.enter_context(temporary_folder())
        self._used: dict[str, None] = {}

    def name(self) -> str:
        """Return the machine's name."""
        return HERE.name

    def node(self) -> str:
        """Return Ray's own name for the machine."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def conditions(self, target: Target) -> dict[str, Any] | AutoCompressError:
        """Return the machine as it is; see `TimingHost.conditions`."""
        return _told(lambda: HERE.conditions(target))

    def lacks(self, digests: list[str]) -> list[str]:
        """Return which of these files were not sent yet. The others are kept for what is asked of them now."""
        for each in digests:
            if each in self._used:
                self._used[each] = self._used.pop(each)  # used last
        return [each for each in digests if each not in self._used]

    def keep(self, sha256: str, parts: Mapping[str, bytes]) -> None:
        """Keep a file, with what lies beside it.

        Args:
            sha256: Of the file.
            parts: Names, from the folder that it lies in, and content.
        """
        if sha256 in self._used:
            return
        for old in list(self._used)[:-MOST_KEPT]:
            shutil.rmtree(self._folder / old, ignore_errors=True)
            del self._used[old]
        with temporary_folder() as apart:
            for name, content in parts.items():
                path = apart / sha256 / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            (apart / sha256).rename(self._folder / sha256)
        self._used[sha256] = None

    def time(self, request: TimingRequest) -> ProcessTimes | AutoCompressError:
        """Time files that were sent, named by their SHA-256 and name; see `TimingHost.time`."""
        return _told(lambda: HERE.time(placed(request, lambda path: self._folder / path)))


@dataclass(frozen=True)
class RayTimingHost:
    """The machine of a cluster that has the target's hardware. It can be sent to every worker.

    Attributes:
        service: Handle of the actor that runs there.
        name: Of the machine.
        patience_s: Seconds that it is waited for where it is gone; another one with the resource may take its place.
    """

    service: Any
    name: str
    patience_s: float = PATIENCE_S
    _digests: dict[tuple[str, int], str] = field(default_factory=dict)

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Time files there; see `TimingHost`.

        Raises:
            TimingHostLost: The machine is gone, and no other one came in its place.
        """
        sent: dict[Path, Path] = {}
        for file in request.files:
            for path in (file.path, file.inputs):
                if path is not None and path not in sent:
                    sent[path] = Path(self._digest(path)) / path.name

        def ask() -> Any:
            wanted = {str(place.parent): path for path, place in sent.items()}
            for sha256 in self._get(self.service.lacks.remote(list(wanted))):
                path = wanted[sha256]
                parts = {p.relative_to(path.parent).as_posix(): p.read_bytes() for p in parts_of(path)}
                self._get(self.service.keep.remote(sha256, parts))
            return self._get(self.service.time.remote(placed(request, sent.__getitem__)))

        found: ProcessTimes | AutoCompressError = self._patiently(ask)
        return _raised(found)

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return the machine as it is; see `TimingHost`."""
        return _raised(self._patiently(lambda: self._get(self.service.conditions.remote(target))))

    @property
    def node(self) -> str:
        """Ray's own name for the machine.

        Raises:
            TimingHostLost: The machine is gone.
        """
        return str(self._patiently(lambda: self._get(self.service.node.remote())))

    def chosen(self) -> contextlib.AbstractContextManager[TimingHost]:
        """Give this machine; see `TimingHost`."""
        return contextlib.nullcontext(self)

    def _digest(self, path: Path) -> str:
        key = str(path), path.stat().st_mtime_ns if path.exists() else 0
        if key not in self._digests:
            # two files may hold the same under two names, as the teacher and the trial that changes nothing of it do
            parts = "".join(map(digest, parts_of(path)))
            self._digests[key] = hashlib.sha256(f"{path.name}\n{parts}".encode()).hexdigest()
        return self._digests[key]

    def _patiently(self, ask: Callable[[], T]) -> T:
        import ray

        until_s: float | None = None
        while True:
            try:
                return ask()
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as error:  # the machine is gone, or out of reach
                until_s = until_s or time.monotonic() + self.patience_s
                if time.monotonic() > until_s:
                    raise TimingHostLost(
                        f"no machine with the resource {RESOURCE!r} times files any more ({one_line(error)[:120]})"
                    ) from error
            time.sleep(PAUSE_S)

    @staticmethod
    def _get(reference: Any) -> Any:
        import ray

        return ray.get(reference)


def placed(request: TimingRequest, place: Callable[[Path], Path]) -> TimingRequest:
    """Return a request for the same files in other places."""

    def moved(file: TimedFile) -> TimedFile:
        return replace(file, path=place(file.path), inputs=None if file.inputs is None else place(file.inputs))

    return replace(request, files=tuple(map(moved, request.files)))


def _told(act: Callable[[], T]) -> T | AutoCompressError:
    # an error that Ray raises holds a traceback of many lines, and hides its own kind
    try:
        return act()
    except AutoCompressError as error:
        return error


def _raised(found: T | AutoCompressError) -> T:
    if isinstance(found, AutoCompressError):
        raise found
    return found
