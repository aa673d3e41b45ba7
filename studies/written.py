"""What a user wrote into a study, checked for parts that contradict each other or have no effect.

Defaults are nobody's words: a study that is read back from its folder has a value for every key, and must pass.
"""

from __future__ import annotations

from collections.abc import Mapping, Set

from ..errors import StudyFileError
from ..spaces.spec import WITH_RANK
from .data.source import DATA_SOURCES
from .recovery import SEARCHED
from .schema import StudySections
from .section import Section

Written = Mapping[str, Set[str]]
"""Section -> keys."""

TASK_BRINGS = {"data": None, "teacher": {"model", "width", "checkpoint"}}
"""Section -> the keys whose meaning a task of the user's own brings already; all keys if None."""


BUILT_IN = {"depth", "size", "factors", "channels", "width", "pattern", "bits", "recovery", "target"}
"""Axes of which it is known what they read; an installed one may read every key of [space]."""


def check_written(study: StudySections, written: Written) -> None:
    """Refuse keys that a user wrote and that cannot have an effect.

    Args:
        study: The whole study.
        written: What the user wrote of it.

    Raises:
        StudyFileError: A key says what the task of `[task] from` already brings, or what this kind of data ignores.
        UnknownName: There is no such kind of data.
    """
    if study.task.source is None:
        _check_data(study, written.get("data", set()))
        return
    for section, keys in TASK_BRINGS.items():
        given = sorted(k for k in written.get(section, ()) if keys is None or k in keys)
        if given:
            raise StudyFileError(
                f"[task] from = {study.task.source!r} already brings what [{section}] {given[0]} says: "
                "remove one of them"
            )


def check_effect(study: StudySections, written: Written) -> None:
    """Refuse keys that a user wrote and that another section leaves without an effect.

    Args:
        study: The whole study.
        written: What the user wrote of it.

    Raises:
        StudyFileError: Nothing would come of a key.
    """
    idle = sorted({"learning_rate", "batch_size"} & written.get("teacher", set()))
    if idle and study.teacher.epochs == 0:
        raise StudyFileError(f"[teacher] {idle[0]} has no effect with epochs = 0: give epochs, or remove it")
    section, axes = study.space, study.space.axes
    taught = study.recovery
    if "rank" in written.get("recovery", set()) and not set(WITH_RANK) & set(taught.ways):
        raise StudyFileError(
            f"[recovery] rank has no effect without one of {', '.join(WITH_RANK)} among ways: add it, or remove rank"
        )
    if len(taught.ways) > 1 and "recovery" not in axes:
        raise StudyFileError(
            f"[recovery] ways = {list(taught.ways)} has no effect without the axis 'recovery', which chooses among "
            "them: add it to [space] axes, or name one way"
        )
    if not BUILT_IN.issuperset(axes):
        return
    for key, axis in (("bits", "bits"), ("patterns", "pattern")):
        if key in written.get("space", set()) and getattr(section, key) is not None and axis not in axes:
            raise StudyFileError(f"[space] {key} has no effect without the axis {axis!r}: add it, or remove {key}")
    if study.recovery.aids and "aids" in written.get("recovery", set()) and "recovery" not in axes:
        raise StudyFileError("[recovery] aids has no effect without the axis 'recovery': add it, or remove aids")
    for key in ("temperature", "alpha"):
        if getattr(taught, key) == SEARCHED and "recovery" not in axes:
            raise StudyFileError(
                f"[recovery] {key} = \"{SEARCHED}\" has no effect without the axis 'recovery': add it, or give a number"
            )
    if "ramp" in written.get("recovery", set()) and study.recovery.ramp is not None and "pattern" not in axes:
        raise StudyFileError("[recovery] ramp has no effect without the axis 'pattern': add it, or remove ramp")
    if taught.learned_steps and not {"bits", "recovery"} <= set(axes):
        raise StudyFileError(
            "[recovery] learned_steps has no effect without the axes 'bits' and 'recovery', by which layers are "
            "trained in low bits: add them, or remove learned_steps"
        )
    if "criterion" in written.get("space", set()) and not {"channels", "width"} & set(axes):
        raise StudyFileError("[space] criterion has no effect where no axis removes channels: add 'channels'")


def written_in(study: StudySections) -> dict[str, set[str]]:
    """Return the keys that a file had, for a study that was just read from it."""
    return {name: set(section.model_fields_set) for name, section in _sections(study).items()}


def not_default(study: StudySections) -> dict[str, set[str]]:
    """Return the keys that somebody must have written, because their values are not the defaults."""
    found = {}
    for name, section in _sections(study).items():
        fields = type(section).model_fields
        found[name] = {key for key, field in fields.items() if getattr(section, key) != field.default}
    return found


def _sections(study: StudySections) -> dict[str, Section]:
    values = {name: getattr(study, name) for name in StudySections.model_fields}
    return {name: value for name, value in values.items() if isinstance(value, Section)}


def _check_data(study: StudySections, given: Set[str]) -> None:
    if not given:
        return
    counting = DATA_SOURCES.make(study.data.kind).keys
    idle = sorted(given - {"kind", *counting})
    if idle:
        raise StudyFileError(
            f"[data] {idle[0]} has no effect with kind = {study.data.kind!r}, where {', '.join(counting)} count: "
            "remove it"
        )
