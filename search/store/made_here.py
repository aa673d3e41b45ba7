"""Whether a study was begun by this user on this machine, so that code which it names may run unasked.

A study's settings may name Python code. Whoever is sent a study looks at it without running that code; to run it, he
says so. The mark of a study's own maker can be made on his machine alone, and by nobody who does not know the machine.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import platform
from pathlib import Path

from ...errors import StorageError, UsageError
from ...files import read_object, write_json
from ...studies.study_file import StudyFile

FILE = "made_here.json"
MACHINE = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))


def mark_made_here(folder: Path, settings: StudyFile) -> None:
    """Note that this user began the study here, or told it what code to run.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    if settings.code:
        write_json(folder / FILE, {"mark": _mark(settings)})


def check_made_here(folder: Path, settings: StudyFile) -> None:
    """Refuse a study that names code and comes from elsewhere.

    Raises:
        UsageError: It does.
    """
    if is_made_here(folder, settings):
        return
    raise UsageError(
        f"{folder} names code, {settings.code[0]} of {settings.folder}, and was begun elsewhere or by an older "
        "version: look at that code, then give --run-code"
    )


def is_made_here(folder: Path, settings: StudyFile) -> bool:
    """Tell whether a study names no code, or was begun by this user on this machine."""
    return not settings.code or _is_own(folder / FILE, settings)


def _is_own(path: Path, settings: StudyFile) -> bool:
    try:
        kept = read_object(path)
    except StorageError:
        return False
    if kept is None or not isinstance(kept.get("mark"), str):
        return False
    return path.stat().st_uid == _user(path.stat().st_uid) and hmac.compare_digest(kept["mark"], _mark(settings))


def _mark(settings: StudyFile) -> str:
    machine = next((path.read_text().strip() for path in MACHINE if path.is_file()), "") or platform.node()
    said = json.dumps([str(settings.path), *settings.code])
    return hmac.new(f"{machine} {_user(0)}".encode(), said.encode(), hashlib.sha256).hexdigest()


def _user(otherwise: int) -> int:
    """Return this user's number; another one where users have none."""
    numbered = getattr(os, "getuid", None)
    return otherwise if numbered is None else int(numbered())
