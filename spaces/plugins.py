"""Plug-ins by name: what any installed package brings through an entry-point group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from ..errors import PluginError, UnknownName, UsageError, one_line

T = TypeVar("T")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """The plug-ins of one kind.

    Attributes:
        kind: What a user calls one of them: "runtime", "axis".
        group: The entry-point group.
        protocol: A runtime-checkable protocol that what an entry point loads must meet; None checks nothing.
        extras: Name -> what to install for it, for well-known names that may be missing.
    """

    kind: str
    group: str
    protocol: Any = None
    extras: Mapping[str, str] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        """Return the known names, sorted.

        Raises:
            UsageError: Two packages bring one name.
        """
        return tuple(sorted(self._entries()))

    def load(self, name: str) -> Any:
        """Return what the entry point of this name refers to, most often a class.

        Raises:
            UnknownName: There is none of this name; the message has the known ones and what to install.
            UsageError: Two packages bring one name.
            PluginError: It cannot be imported.
        """
        entries = self._entries()
        if name not in entries:
            hint = f"To add one, install the package that brings it (entry-point group {self.group!r})."
            if name in self.extras:
                hint = f"Install it: {self.extras[name]}"
            raise UnknownName(self.kind, name, entries, hint)
        entry = entries[name]
        try:
            return entry.load()
        except Exception as error:
            what = f"{self.kind} {entry.name!r} ({entry.value})"
            raise PluginError(f"{what} cannot be loaded: {one_line(error)}; reinstall its package") from error

    def make(self, name: str) -> T:
        """Return a new plug-in, made without arguments.

        Raises:
            UnknownName: There is none of this name.
            UsageError: Two packages bring one name.
            PluginError: It cannot be imported or made, or it lacks parts of its protocol.
        """
        loaded = self.load(name)
        try:
            made = loaded()
        except Exception as error:
            raise PluginError(
                f"{self.kind} {name!r} cannot be made: {one_line(error)}; reinstall its package"
            ) from error
        if self.protocol is not None and not isinstance(made, self.protocol):
            where = f"{self.protocol.__module__}.{self.protocol.__qualname__}"
            raise PluginError(f"{self.kind} {name!r} lacks parts of the seam {where}; see its conformance suite")
        return made  # type: ignore[no-any-return]

    def make_all(self) -> dict[str, T | PluginError]:
        """Return every plug-in by name, or what is wrong with it: a broken package must not hide the others.

        Raises:
            UsageError: Two packages bring one name.
        """
        found: dict[str, T | PluginError] = {}
        for name in self.names():
            try:
                found[name] = self.make(name)
            except PluginError as broken:
                found[name] = broken
        return found

    def _entries(self) -> dict[str, EntryPoint]:
        return by_name(installed(self.group), self.kind)


@cache
def installed(group: str) -> tuple[EntryPoint, ...]:
    """Return the entry points of a group; they are read once, because every reading opens all installed packages."""
    return tuple(entry_points(group=group))


def by_name(entries: Iterable[EntryPoint], kind: str) -> dict[str, EntryPoint]:
    """Return entry points by their names.

    Raises:
        UsageError: Two of them bring different things under one name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entries:
        other = found.setdefault(entry.name, entry)
        if other.value != entry.value:
            raise UsageError(
                f"two packages bring the {kind} {entry.name!r}: {other.value} and {entry.value}; uninstall one of them"
            )
    return found
