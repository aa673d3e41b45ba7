"""Whether the files that lie in a study are those that were measured: figures and file are joined by its SHA-256."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from ...errors import StorageError, UsageError
from ...files import digest
from ..store.layout import trial_folder
from ..store.settings import settings_path
from .entry import Entry

if TYPE_CHECKING:
    from .front import Front

TOLD = 3  # models that are named; of more the number is said


def model_paths(study: Path, entry: Entry) -> dict[str, Path]:
    """Return the model files of an entry, by target.

    Raises:
        StorageError: A file is gone.
    """
    folder = trial_folder(study, entry.number)
    alone = len(entry.trial.measured) == 1
    return {name: _model_in(folder if alone else folder / name, entry) for name in entry.trial.measured}


def not_as_measured(study: Path, entry: Entry) -> str:
    """Return why the files of an entry are not those that were measured, in one line; empty if they are.

    Measurements of older versions do not say which file they are of: what lies there is taken for it.
    """
    known = {name: file.sha256 for name, file in entry.trial.measured.items() if file.sha256}
    if not known and not (study / "trials").is_dir():
        return ""  # figures alone, as of a copy without files
    try:
        paths = model_paths(study, entry)
        found = {name: digest(paths[name]) for name in known}
    except (StorageError, OSError) as error:
        return str(error)
    for name, sha256 in known.items():
        if found[name] != sha256:
            return (
                f"{paths[name]}: not the file that trial {entry.number} was measured with (its SHA-256 differs); "
                "restore it from a copy of the study"
            )
    return ""


def intact(front: Front, shown: Callable[[Front], Iterable[Entry]]) -> Front:
    """Return a front of which everything shown was measured on the very files that lie there.

    Args:
        front: The front.
        shown: What of a front is shown; leaving out one model may bring up another.
    """
    seen: set[int] = set()
    while True:
        fresh = [entry for entry in shown(front) if entry.number not in seen]
        if not fresh:
            return front
        seen |= {entry.number for entry in fresh}
        reasons = {entry.number: not_as_measured(front.folder, entry) for entry in fresh}
        changed = {number: reason for number, reason in reasons.items() if reason}
        if changed:
            front = front.without(changed)


def told(changed: Mapping[int, str]) -> list[str]:
    """Return lines that say which models are left out: a few by name, then how many there are.

    Args:
        changed: Trials whose files are not those that were measured, with the reason.
    """
    reasons = [reason for _, reason in sorted(changed.items())]
    more = len(reasons) - TOLD
    return reasons[:TOLD] + ([f"and {more} more, for such reasons"] if more > 0 else [])


def refuse_inside_a_study(out: Path) -> None:
    """Refuse to write into the folder of a study, where a bundle would take the place of measured files.

    Raises:
        UsageError: The folder is a study's, or lies in one.
    """
    whole = out.resolve()
    for folder in (whole, *whole.parents):
        if settings_path(folder).is_file():
            raise UsageError(f"{out} is in the study {folder}, whose files would be lost; give a folder outside of it")


def _model_in(folder: Path, entry: Entry) -> Path:
    found = [path for path in folder.glob("model.*") if path.stem == "model"]
    if len(found) != 1:
        raise StorageError(f"{folder}: the model of trial {entry.number} is gone; restore it from a copy of the study")
    return found[0]
