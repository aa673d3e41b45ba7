"""What was measured of a target, kept between studies: one JSON file for each target and kind of machine."""

from __future__ import annotations

import json
import os
import re
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..spaces.target import Target
from ..spaces.target_profile import TargetProfile
from .timing.machine import conditions, fingerprint

FORMAT = 1
"""Of the files, and of the micro networks they are about: others are measured again."""


def user_folder() -> Path:
    """$AUTOCOMPRESS_CACHE/profile if that is set, else autocompress/profile in the user's cache folder
    ($XDG_CACHE_HOME or ~/.cache); in the system's temporary folder for a user without a home."""
    if named := os.environ.get("AUTOCOMPRESS_CACHE"):
        return Path(named) / "profile"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    if not base.is_absolute():  # the specification says that others are to be ignored
        try:
            base = Path.home() / ".cache"
        except RuntimeError:
            base = Path(tempfile.gettempdir())
    return base / "autocompress" / "profile"


@dataclass(frozen=True)
class ProfileCache:
    """A folder of profile. It is no more than a memory: what cannot be read is not there, and what cannot be written is
    measured again. Files are replaced whole, so processes that write at once do no harm."""

    folder: Path = field(default_factory=user_folder)

    def path(self, target: Target, version: str) -> Path:
        """The file for a target with this version of its runtime, on this machine as it is now."""
        name = f"{target.runtime}-{version}-{target.device}-threads{target.threads}-batch{target.batch}"
        return self.folder / f"{re.sub(r'[^A-Za-z0-9._-]+', '_', name)}-{fingerprint(conditions(target, version))}.json"

    def read(self, target: Target, version: str) -> TargetProfile | None:
        """What is kept; None if there is no file, or one that is corrupt or of another format."""
        try:
            data = json.loads(self.path(target, version).read_bytes())
            return TargetProfile.from_dict(data["profile"]) if data["format"] == FORMAT else None
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def write(self, target: Target, version: str, profile: TargetProfile) -> None:
        """Keep `profile` with what is kept already."""
        merged = (self.read(target, version) or TargetProfile()).merged(profile)
        path = self.path(target, version)
        data = {"format": FORMAT, "conditions": conditions(target, version), "profile": merged.to_dict()}
        with suppress(OSError):
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, beside = tempfile.mkstemp(".part", dir=path.parent)
            try:
                with os.fdopen(handle, "w") as file:
                    json.dump(data, file, indent=1)
                Path(beside).replace(path)
            finally:
                Path(beside).unlink(missing_ok=True)
