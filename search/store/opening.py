"""A study that is opened for the first time: what another run left that never came to its first trial."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from ...errors import StorageError
from ...files import disk_errors, read_object, remove, write_json
from ...studies.study_file import StudyFile
from .settings import first_change, fixed_part, settings_path

MADE = (
    *("identity.json", "task.json", "samples.npz", "space.json", "teacher.safetensors", "targets", "profile"),
    "learning_rate.json",
    "sizes.json",
    "importance.npz",
    "students",
    "study.db",
    "storage.json",
)
"""What opening makes, and a study keeps from then on."""
OF_STUDENTS = ("samples.npz", "space.json", "targets", "profile", "importance.npz", "students")
"""What of these hangs on students of the user's own."""
HELD = ("lock", "lock.json")
"""What lies in any folder that a search has open; see `lock`."""
BEGUN = "opening.json"
"""What a study is opened with, while it is not open yet."""


def begin_opening(folder: Path, settings: StudyFile) -> bool:
    """Note what a study is opened with; remove what a killed run made of other settings before its first trial.

    Args:
        folder: The study's folder.
        settings: Of this run.

    Returns:
        Whether anything was removed.

    Raises:
        StorageError: The folder is no study and holds files, or the disk cannot be written.
    """
    if settings_path(folder).exists():
        return False  # it was opened; `check_settings` sees to the rest
    path = folder / BEGUN
    removed, noted = False, read_object(path)
    if not any((folder / "trials").glob("*/plan.json")):
        if noted is None:
            _check_empty(folder)
        elif first_change(noted, settings) is not None:
            with disk_errors(folder):
                for name in MADE:
                    removed = removed or (folder / name).exists()
                    remove(folder / name)
    write_json(path, {"study": {"name": settings.name}, **fixed_part(settings)})
    return removed


def name_of(folder: Path) -> str | None:
    """Return the name of the study in a folder; None where that is not known, as where there is none."""
    with suppress(StorageError, AttributeError):
        opened, begun = read_object(settings_path(folder)), read_object(folder / BEGUN)
        name = opened.get("name") if opened is not None else (begun or {}).get("study", {}).get("name")
        return name if isinstance(name, str) else None
    return None


def forget_students(folder: Path) -> None:
    """Remove what was made of students of the user's own, where a study without trials takes others.

    Raises:
        StorageError: The disk cannot be written.
    """
    with disk_errors(folder):
        for name in OF_STUDENTS:
            remove(folder / name)


def end_opening(folder: Path) -> None:
    """Note that a study is open: its settings are kept from now on."""
    (folder / BEGUN).unlink(missing_ok=True)


def _check_empty(folder: Path) -> None:
    """Refuse a folder in which something lies that no search has made."""
    with disk_errors(folder):
        names = sorted(path.name for path in folder.iterdir())
    # what begins with a dot is not finished, or a system's own: no study has such a file
    theirs = [name for name in names if name not in HELD and not name.startswith(".")]
    if theirs:
        raise StorageError(
            f"{folder} is there and no study of AutoCompress, and a search might write over its {theirs[0]}: move it "
            "away, give another folder with --runs, or use --fresh"
        )
