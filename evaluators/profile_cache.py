"""What was measured of a target, kept between studies: one JSON file for each target and kind of machine."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..cache import Cache
from ..spaces.plain import from_plain, to_plain
from ..spaces.target import Target
from ..spaces.target_profile import TargetProfile
from .timing.host import HERE, TimingHost
from .timing.machine import fingerprint

FORMAT = 2
"""Of the files, and of the micro networks they are about: others are measured again."""


@dataclass(frozen=True)
class ProfileCache:
    """A memory of target profiles.

    Attributes:
        folder: Where the files lie; by default `profiles` in the user's cache, see `autocompress.cache`.
        host: The machine that targets are on.
    """

    folder: Path = field(default_factory=Path)
    host: TimingHost = HERE

    def path(self, target: Target, version: str) -> Path:
        """Return the file for a target.

        Args:
            target: The target.
            version: Of its runtime.

        Returns:
            The file of this target, with this version, on its machine as that is now.
        """
        return self._cache.path(self._key(target, version))

    def read(self, target: Target, version: str) -> TargetProfile | None:
        """Return what is kept; None if there is no file, or one that is corrupt or of another format."""
        return self._cache.read(self._key(target, version))

    def write(self, target: Target, version: str, profile: TargetProfile) -> None:
        """Keep a profile together with what is kept already; of two answers to one question the new one counts."""
        merged = (self.read(target, version) or TargetProfile()).merged(profile)
        self._cache.write(self._key(target, version), merged, conditions=self._conditions(target, version))

    @property
    def _cache(self) -> Cache[TargetProfile]:
        return Cache("profiles", FORMAT, lambda data: from_plain(TargetProfile, data), to_plain, self.folder)

    def _key(self, target: Target, version: str) -> str:
        name = f"{target.runtime}-{version}-{target.device}-threads{target.threads}-batch{target.batch}"
        return f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}-{fingerprint(self._conditions(target, version))}"

    def _conditions(self, target: Target, version: str) -> dict[str, Any]:
        return {**self.host.conditions(target), "runtime_version": version}
