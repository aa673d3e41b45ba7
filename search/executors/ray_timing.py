"""Timing on the machine of a Ray cluster that has the target's hardware."""

from __future__ import annotations

import contextlib
import hashlib
import secrets
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ...errors import AutoCompressError, TimingHostLost, one_line
from ...evaluators.score import parts_of
from ...evaluators.timing.host import HERE, Judge, TimingHost
from ...evaluators.timing.processes import ProcessTimes, TimedFile, TimingRequest
from ...files import digest
from ...spaces.target import Target
from ...temporary import sweep_temporary, temporary_folder
from .ray_guard import Guard, Life, Untrusted

RESOURCE = "autocompress_target"
"""The custom resource of Ray that machines with the target's hardware offer: `ray start --resources`."""
PATIENCE_S = 600.0
"""Seconds that the only machine which times files is waited for."""
PAUSE_S = 2.0
MOST_KEPT = 200
"""Files that are kept on the target's machine beside those that are about to be timed, those that were used last."""
FORGOTTEN_S = 1800.0
"""No file waits so long for its timing: whoever sent it died."""
T = TypeVar("T")


class TimingService:
    """Times files that others send it. Ray lets it do one thing after the other.

    Ray may start it anew, on another machine. Then it times nothing before the driver trusts it; see `Guard`.
    """

    def __init__(self, trusted: bool = True) -> None:
        """Make a folder for files.

        Args:
            trusted: Whether it may time files at once.
        """
        sweep_temporary()  # of those whose processes were ended
        self._key, self._trusted, self._refused = secrets.token_hex(8), trusted, ""
        self._held = contextlib.ExitStack()
        self._folder = self._held.enter_context(temporary_folder())
        self._used: dict[str, None] = {}
        self._awaited_s: dict[str, float] = {}  # when it was said last that a file is about to be timed

    def name(self) -> str:
        """Return the machine's name."""
        return HERE.name

    def node(self) -> str:
        """Return Ray's own name for the machine."""
        import ray

        return str(ray.get_runtime_context().get_node_id())

    def life(self) -> Life:
        """Return which life of the service this is."""
        return Life(self._key, self.name(), self.node(), self._trusted)

    def trust(self, key: str) -> None:
        """Time files from now on, if this is still that life."""
        if key == self._key:
            self._trusted = True

    def refuse(self, key: str, why: str) -> None:
        """Tell whoever wants files timed why none are, if this is still that life."""
        if key == self._key:
            self._refused = why

    def conditions(self, target: Target, key: str = "") -> dict[str, Any] | AutoCompressError | Untrusted:
        """Return the machine as it is, see `TimingHost.conditions`, if it is trusted or asked by its key."""
        return self._if_trusted(key, lambda: HERE.conditions(target))

    def lacks(self, digests: list[str]) -> list[str]:
        """Return which of these files were not sent yet. The others are kept for what is asked of them now."""
        for each in digests:
            self._awaited_s[each] = time.monotonic()
            if each in self._used:
                self._used[each] = self._used.pop(each)  # used last
        return [each for each in digests if each not in self._used]

    def keep(self, sha256: str, parts: Mapping[str, bytes]) -> TimingHostLost | None:
        """Keep a file, with what lies beside it.

        Args:
            sha256: Of the file.
            parts: Names, from the folder that it lies in, and content.

        Returns:
            Why it cannot be kept, where the disk is full or fails.
        """
        if sha256 in self._used:
            return None
        since_s = time.monotonic() - FORGOTTEN_S
        idle = [each for each in self._used if self._awaited_s.get(each, since_s) <= since_s]
        for old in idle[:-MOST_KEPT]:
            shutil.rmtree(self._folder / old, ignore_errors=True)
            del self._used[old]
            self._awaited_s.pop(old, None)
        try:
            with temporary_folder() as apart:
                for name, content in parts.items():
                    path = apart / sha256 / name
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_bytes(content)
                (apart / sha256).rename(self._folder / sha256)
        except OSError as error:
            return TimingHostLost(
                f"{self.name()}, which times files, cannot keep one ({one_line(error)[:120]}); see to its disk and run "
                "the same command again"
            )
        self._used[sha256] = None
        return None

    def time(self, request: TimingRequest, key: str = "") -> ProcessTimes | AutoCompressError | Untrusted:
        """Time files that were sent, named by their SHA-256 and name; see `TimingHost.time`.

        Args:
            request: What to time.
            key: Of the life that is asked though it is not trusted.
        """
        found = self._if_trusted(key, lambda: HERE.time(placed(request, lambda path: self._folder / path)))
        if not isinstance(found, Untrusted):
            for path in _files_of(request):
                self._awaited_s.pop(path.parts[0], None)
        return found

    def _if_trusted(self, key: str, act: Callable[[], T]) -> T | AutoCompressError | Untrusted:
        if self._refused:
            return TimingHostLost(self._refused)
        if not self._trusted and key != self._key:
            return Untrusted(self.life())
        return _told(act)


@dataclass(frozen=True)
class RayTimingHost:
    """The machine of a cluster that has the target's hardware. It can be sent to every worker.

    Attributes:
        service: Handle of the actor that runs there.
        name: Of the machine.
        patience_s: Seconds that it is waited for where it is gone; another one with the resource may take its place.
        key: Of the one life of the service that is asked though it is not trusted; empty for whichever is trusted.
        guard: Looks at what takes its place, in the driver alone: elsewhere that is waited for.
    """

    service: Any
    name: str
    patience_s: float = PATIENCE_S
    key: str = ""
    guard: Guard | None = field(default=None, compare=False)
    _digests: dict[tuple[str, int], str] = field(default_factory=dict)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "guard": None}

    def judged_by(self, judge: Judge) -> None:
        """Have a machine that takes its place judged; see `Replaceable`."""
        if self.guard is not None:
            self.guard.judge = judge

    def time(self, request: TimingRequest) -> ProcessTimes:
        """Time files there; see `TimingHost`.

        Raises:
            TimingHostLost: The machine is gone, and no other one came in its place.
        """
        sent: dict[Path, Path] = {}
        for path in _files_of(request):
            if path not in sent:
                sent[path] = Path(self._digest(path)) / path.name

        def ask() -> Any:
            wanted = {str(place.parent): path for path, place in sent.items()}
            for sha256 in self._get(self.service.lacks.remote(list(wanted))):
                path = wanted[sha256]
                parts = {p.relative_to(path.parent).as_posix(): p.read_bytes() for p in parts_of(path)}
                if (trouble := self._get(self.service.keep.remote(sha256, parts))) is not None:
                    raise trouble
            return self._get(self.service.time.remote(placed(request, sent.__getitem__), self.key))

        found: ProcessTimes | AutoCompressError = self._patiently(ask)
        return _raised(found)

    def conditions(self, target: Target) -> dict[str, Any]:
        """Return the machine as it is; see `TimingHost`."""
        return _raised(self._patiently(lambda: self._get(self.service.conditions.remote(target, self.key))))

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

    def look_over(self, life: Life) -> None:
        """Have a life of the service looked at that is not trusted yet; the driver calls it."""
        if self.guard is None or life.trusted:
            return
        refused = self.guard.verdict(life, replace(self, patience_s=0.0, key=life.key, guard=None))
        if refused is not None:
            service = self.service
            self._get(service.refuse.remote(life.key, refused) if refused else service.trust.remote(life.key))

    def _digest(self, path: Path) -> str:
        key = str(path), path.stat().st_mtime_ns if path.exists() else 0
        if key not in self._digests:
            # two files may hold the same under two names, as the teacher and the trial that changes nothing of it do
            parts = "".join(map(digest, parts_of(path)))
            self._digests[key] = hashlib.sha256(f"{path.name}\n{parts}".encode()).hexdigest()
        return self._digests[key]

    def _patiently(self, ask: Callable[[], T | Untrusted]) -> T:
        import ray

        until_s: float | None = None
        looked = ""  # key of the life that was just looked at
        while True:
            try:
                found = ask()
                if not isinstance(found, Untrusted):
                    return found
                why = f"{found.life.machine} took its place, and was not held against it"
                if self.guard is not None and found.life.key != looked:
                    looked = found.life.key
                    self.look_over(found.life)
                    continue
                looked = ""  # the look decided nothing: a while later, and not for ever, once more
            except ray.exceptions.RayTaskError:
                raise
            except ray.exceptions.RayError as error:  # the machine is gone, or out of reach
                why = one_line(error)[:120]
            until_s = until_s or time.monotonic() + self.patience_s
            if time.monotonic() >= until_s:
                raise TimingHostLost(f"no machine with the resource {RESOURCE!r} times files any more ({why})")
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


def _files_of(request: TimingRequest) -> list[Path]:
    return [path for file in request.files for path in (file.path, file.inputs) if path is not None]


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
