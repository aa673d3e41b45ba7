"""Where the files of a study lie."""

from __future__ import annotations

from pathlib import Path

from ...errors import UsageError

CALIBRATION = "calibration.json"
"""In the folder of a target: what the teacher's file takes there."""


def trial_folder(study: Path, number: int) -> Path:
    """Return where a trial's files lie."""
    return study / "trials" / f"{number:04d}"


def target_folder(study: Path, target: str) -> Path:
    """Return where the teacher's file for a target, its calibration and the latencies of shapes lie."""
    return study / "targets" / target


def calibration_path(study: Path, target: str) -> Path:
    """Return where it is kept what the teacher's file takes on a target."""
    return target_folder(study, target) / CALIBRATION


def model_path(study: Path, number: int, target: str, suffix: str, alone: bool) -> Path:
    """Return where a trial's model for a target lies.

    Args:
        study: The study's folder.
        number: Of the trial.
        target: Name of the target.
        suffix: Of the runtime's files, with a dot.
        alone: Whether the trial has a file for this target only.
    """
    folder = trial_folder(study, number)
    return (folder if alone else folder / target) / f"model{suffix}"


def remeasuring_path(study: Path) -> Path:
    """Return where it is noted which trials are still to be measured anew."""
    return study / "remeasure.json"


def remeasuring(study: Path) -> bool:
    """Tell whether a study is being measured anew, under conditions of its own."""
    return remeasuring_path(study).exists()


def checkpoints_folder(study: Path) -> Path:
    """Return where the weights of students lie."""
    return study / "checkpoints"


def students_folder(study: Path) -> Path:
    """Return where the first weights of the user's own students lie, which all that are cut from them begin with."""
    return study / "students"


def logs_folder(study: Path) -> Path:
    """Return where worker processes print to, a file each."""
    return study / "logs"


def find_study_folder(study: Path) -> Path:
    """Return a study's folder, given as a path or as a name under `runs/`.

    Raises:
        UsageError: It is a file.
    """
    if not study.exists() and (Path("runs") / study).exists():
        study = Path("runs") / study
    if study.is_file():
        raise UsageError(f"{study} is a file; give the folder of a search, such as runs/digits")
    # "." and ".." are no names, and what a study is called stands in reports, cards and model repositories
    return study.resolve() if study.name in ("", "..") else study
