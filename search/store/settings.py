"""The settings of a study on disk, and what may change while the study goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ...errors import StorageError, UsageError
from ...files import read_object, write_json
from ...remarks import remark
from ...spaces.spec import Recovery
from ...studies.budget import LATENCY_KEYS, BudgetSection
from ...studies.recovery import SEARCHED
from ...studies.schema import StudySections
from ...studies.study_file import StudyFile
from ...studies.task import Task
from .made_here import check_made_here, mark_made_here

FORMAT = 2
"""Of a study's folder. Plans and trials of another format cannot be read."""
FIXED = ("task", "data", "teacher", "target", "recovery")
"""Sections that cannot change while a study goes on: their trials would not compare."""
FIXED_KEYS = {"space": {"criterion", "embeddings", "recurrent"}}
"""Keys of other sections that cannot either: the students of one plan would not be the same."""
NEEDS_WHAT_IS_KEPT = {"size": "sizes.json"}
"""Axis -> the file of a study without which it cannot lose the axis: what students with it are made with."""
FREE = {"profile_seconds", "learn_seconds", "precision"}
"""Keys of those sections that may: how long to look does not change what is seen."""
HELD = ("temperature", "alpha")
"""Numbers that a study may hold or search by turns. Plans name those that are not the one that is held."""


def settings_path(folder: Path) -> Path:
    """Return the file that holds a study's settings."""
    return folder / "study.json"


def write_settings(folder: Path, settings: StudyFile) -> None:
    """Keep the settings of a study.

    Raises:
        StorageError: The disk is full or cannot be written.
    """
    mark_made_here(folder, settings)
    write_json(settings_path(folder), {"format": FORMAT, **settings.model_dump(mode="json", by_alias=True)})


def read_settings(folder: Path) -> StudyFile:
    """Return the settings that a study was last searched with.

    Raises:
        UsageError: There is no study in this folder.
        StorageError: The study was written by another version, or its settings cannot be read.
    """
    data = check_format(folder)
    if data is None:
        raise UsageError(f"no study in {folder}; give the folder of a search, such as runs/digits")
    data = {key: value for key, value in data.items() if key != "format"}
    for _ in range(len(data) + 100):
        try:
            return StudyFile.model_validate(data)
        except ValidationError as error:
            # a later version knows more; what it says beside is none of this one's business
            unknown = [each["loc"] for each in error.errors() if each["type"] == "extra_forbidden"]
            if not unknown or not all(_dropped(data, place) for place in unknown):
                break
            names = ", ".join(".".join(map(str, place)) for place in unknown)
            remark(f"{settings_path(folder)}: {names} is of another version of AutoCompress and passed over")
    try:
        return StudyFile.model_validate(data)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise StorageError(
            f"{settings_path(folder)}: {where}: {first['msg']}; it was written by another version of AutoCompress: "
            "use that version, or start anew with --fresh"
        ) from error


def _dropped(data: dict[str, Any], place: tuple[int | str, ...]) -> bool:
    """Take a key out of plain values, and tell whether it was there."""
    *above, last = place
    inner: Any = data
    for key in above:
        inner = inner.get(key) if isinstance(inner, dict) else None
    if not isinstance(inner, dict) or last not in inner:
        return False
    del inner[last]
    return True


def check_format(folder: Path) -> dict[str, Any] | None:
    """Return a study's settings as plain values; None when there is no study.

    Raises:
        StorageError: The study has another format than this version writes. Nothing in it is changed.
    """
    data = read_object(settings_path(folder))
    found = None if data is None else data.get("format", 1)
    if found not in (None, FORMAT):
        raise StorageError(
            f"{folder} was written by {'an older' if isinstance(found, int) and found < FORMAT else 'another'} version "
            f"of AutoCompress (format {found}, this one writes {FORMAT}): nothing in it was changed; read it with that "
            "version, or start anew with --fresh"
        )
    return data


def check_settings(folder: Path, settings: StudyFile) -> None:
    """Refuse settings whose trials would not compare with those that a study has.

    Raises:
        StorageError: A section that cannot change has changed, or the study has another format.
    """
    old = check_format(folder)
    if old is None:
        return
    if (change := first_change(old, settings)) is not None:
        section, key, before, now = change
        raise StorageError(
            f"{folder} was begun with [{section}] {key} = {before!r}, now it is {now!r}: its trials would not compare; "
            "use --fresh, or change it back"
        )
    axes = _section(old, "space").get("axes", ())
    for axis, file in NEEDS_WHAT_IS_KEPT.items():
        if axis in axes and axis not in settings.space.axes and not (folder / file).exists():
            raise StorageError(
                f"{folder} was searched with the axis {axis!r}, and without it what it made cannot be made again: "
                "add it to [space] axes, or use --fresh"
            )
    objectives = _section(old, "search").get("objectives", settings.search.objectives)
    if tuple(objectives) != settings.search.objectives:
        raise StorageError(f"{folder} was begun with other objectives ({', '.join(objectives)}); use --fresh")


def check_like_others(folder: Path, settings: StudyFile) -> None:
    """Refuse to search a study for other ends than the drivers that search it now.

    Raises:
        StorageError: A limit, or what may change, is another one; or the study has another format.
    """
    old, new = check_format(folder) or {}, settings.model_dump(mode="json", by_alias=True)
    for section in ("budget", "space"):
        for key, now in new[section].items():
            before = _section(old, section).get(key, now)
            if before != now:
                raise StorageError(
                    f"{folder} is searched by another driver with [{section}] {key} = {before!r}, and here it is "
                    f"{now!r}: give the same, or wait until it has ended"
                )


def first_change(old: dict[str, Any], settings: StudyFile) -> tuple[str, str, Any, Any] | None:
    """Return what of the sections that cannot change has changed first; None where nothing has.

    Args:
        old: Settings as plain values, of this version or an earlier one.
        settings: Those of now.

    Returns:
        The section, the key, what it was and what it is.
    """
    new = settings.model_dump(mode="json", by_alias=True)
    for section in (*FIXED, *FIXED_KEYS):
        # a key that came with a later version had its default
        before = getattr(StudySections(), section).model_dump(mode="json", by_alias=True) | _section(old, section)
        for key, now in new[section].items():
            fixed = key in FIXED_KEYS.get(section, {key}) and key not in FREE
            turned = key in HELD and SEARCHED in (before[key], now)
            if turned and getattr(Recovery, key) in (before[key], now):
                continue
            if fixed and before.get(key) != now:
                return section, key, before.get(key), now
    return None


def fixed_part(settings: StudySections) -> dict[str, dict[str, Any]]:
    """Return what cannot change while a study goes on, as plain values."""
    plain = settings.model_dump(mode="json", by_alias=True)
    keys = {section: {key: plain[section][key] for key in sorted(found)} for section, found in FIXED_KEYS.items()}
    return {section: plain[section] for section in FIXED} | keys


def _section(old: dict[str, Any], name: str) -> dict[str, Any]:
    found = old.get(name)  # one that came with a later version, or went with it
    return found if isinstance(found, dict) else {}


def with_earlier_choices(folder: Path, settings: StudyFile) -> tuple[StudyFile, list[str], list[str]]:
    """Return settings with the limits, axes and held numbers of a study's last search, where they say nothing of them.

    Args:
        folder: The study's folder.
        settings: Of this run.

    Returns:
        The settings; the limits that were kept, as `key = value`; and the axes that were, where they are not the
        default ones.

    Raises:
        StorageError: The study has another format.
    """
    old = check_format(folder)
    if old is None:
        return settings, [], []
    said, plain = set(settings.budget.model_fields_set), BudgetSection().model_dump(mode="json")
    if said & LATENCY_KEYS:
        said |= LATENCY_KEYS
    kept = {key: value for key, value in _section(old, "budget").items() if key not in said and value != plain.get(key)}
    if kept:
        settings = settings.changed("budget", **kept)
    # studies had no such keys when all of them searched these numbers
    taught = dict.fromkeys(HELD, SEARCHED) | _section(old, "recovery")
    others = {key for key in HELD if taught[key] != getattr(settings.recovery, key)}
    others -= settings.recovery.model_fields_set
    if others and "recovery" in _section(old, "space").get("axes", settings.space.axes):
        settings = settings.changed("recovery", **{key: taught[key] for key in others})
    axes = _section(old, "space").get("axes", settings.space.axes)
    if "axes" in settings.space.model_fields_set or tuple(axes) == settings.space.axes:
        axes = []
    else:
        settings = settings.changed("space", axes=axes)
    return settings, [f"{key} = {value!r}" for key, value in kept.items()], list(axes)


def task_of(settings: StudyFile, folder: Path | None, run_code: bool = False) -> Task:
    """Return the task that a study's settings describe.

    Args:
        settings: The study's settings.
        folder: The study's folder, where it was begun.
        run_code: Whether to run code that a study from elsewhere names.

    Raises:
        UsageError: The study was searched from Python, so that its settings do not say what its task is; or it names
            code and comes from elsewhere.
        AutoCompressError: What data and tasks raise.
    """
    if folder is not None and settings.task.source is None and settings.teacher.model is None:
        raise UsageError(f"{folder} was searched from Python, so its task is not known here; name it with --task")
    if folder is not None and not run_code:
        check_made_here(folder, settings)
    return settings.build_task()
