"""Which runtimes there are. Any installed package can bring one through the entry-point group."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from ...errors import RuntimeUnavailable, UnknownName, UsageError
from .base import Runtime

GROUP = "autocompress.runtimes"


def get_runtime(name: str) -> Runtime:
    """The runtime of that name. Raises UnknownName, UsageError (two packages bring it), RuntimeUnavailable (its
    class cannot be loaded)."""
    found = _by_name(entry_points(group=GROUP))
    if name not in found:
        hint = f"To add a runtime, install the package that brings it (entry-point group {GROUP!r})."
        raise UnknownName("runtime", name, found, hint)
    return _made(found[name])


def all_runtimes() -> dict[str, Runtime | RuntimeUnavailable]:
    """Name -> runtime, sorted by name; also of those that cannot run here, see `available()`. For a class that cannot
    be loaded, what is wrong with it: one broken package must not hide the others. Raises UsageError."""
    found: dict[str, Runtime | RuntimeUnavailable] = {}
    for name, entry in sorted(_by_name(entry_points(group=GROUP)).items()):
        try:
            found[name] = _made(entry)
        except RuntimeUnavailable as broken:
            found[name] = broken
    return found


def _by_name(entries: Iterable[EntryPoint]) -> dict[str, EntryPoint]:
    found: dict[str, EntryPoint] = {}
    for entry in entries:
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UsageError(
                f"two packages bring a runtime named {entry.name!r}: {other.value} and {entry.value}; "
                "uninstall one of them"
            )
    return found


def _made(entry: EntryPoint) -> Runtime:
    try:
        runtime = entry.load()()
    except Exception as error:
        raise RuntimeUnavailable(
            f"runtime {entry.name!r} ({entry.value}) cannot be loaded: {error}; reinstall its package"
        ) from error
    if not isinstance(runtime, Runtime):
        raise RuntimeUnavailable(
            f"runtime {entry.name!r} ({entry.value}) lacks methods of the seam; see "
            "autocompress.evaluators.runtimes.base.Runtime"
        )
    return runtime
