"""The recipe of a student, `recipe.toml`: all that it takes to make it again from its teacher and its data."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...errors import BundleError, one_line
from ...files import read_object
from ...spaces.plain import from_plain, to_plain
from ...spaces.spec import StudentSpec
from ...spaces.target import PerTarget
from ...studies.study_file import StudyFile
from ..report.entry import Entry
from ..report.front import Front
from ..store.importance import read_importance
from ..trial import Trial
from .record import Figure, Record
from .sources import portable, sources_of
from .templates import quoted

FORMAT = 1


@dataclass(frozen=True)
class Ingredient:
    """One student that is to be made.

    Attributes:
        number: Of its trial.
        spec: What its student is made by.
        begins_with: Number of the trial whose weights it begins with, None for the teacher's.
        seed: Of its training; None in recipes of an earlier version, where it is the study's.
    """

    number: int
    spec: StudentSpec
    begins_with: int | None = None
    seed: int | None = None


@dataclass(frozen=True)
class LatencyFigure:
    """A latency with its interval, and its ratio to the teacher's file with its own."""

    p50_ms: float
    low_ms: float
    high_ms: float
    ratio: float
    ratio_low: float
    ratio_high: float


@dataclass(frozen=True)
class Recipe:
    """How a student is made again.

    Attributes:
        study: Settings of the study, as a study file has them.
        students: The students in the order in which they are made: each that a later one begins with, then the model.
        choices: The plan of the last.
        identity: How the teacher and the data of the study are known again.
        metric: Name and direction of the metric.
        validation: The metric of each file on the validation split.
        test: The metric of the worst file on the test split, None where it was not scored.
        latency: Of each file.
        files: Path of each file in the bundle.
        sha256: Of each file; see `files.digest`.
        sources: The files that the study was written in, from its folder, with their SHA-256; none for a study that
            comes with this package.
        calibration: Method by which the ranges of 8-bit activations of each file were found; see
            `Measurement.calibration`.
        folder: Of the study's file, in recipes of an earlier version.
        criterion: That channels were rated by, where the study has one of its own.
        importance: Group name -> importance of its channels, by that criterion.
        format: Of the recipe.
    """

    study: Mapping[str, Any]
    students: tuple[Ingredient, ...]
    choices: Mapping[str, Any]
    identity: Mapping[str, str]
    metric: Mapping[str, str]
    validation: PerTarget[Figure]
    test: Figure | None
    latency: PerTarget[LatencyFigure]
    files: PerTarget[str] = field(default_factory=dict)
    sha256: PerTarget[str] = field(default_factory=dict)
    sources: Mapping[str, str] = field(default_factory=dict)
    calibration: PerTarget[str] = field(default_factory=dict)
    folder: str | None = None
    criterion: str = ""
    importance: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    format: int = field(default=FORMAT)


def recipe_text(front: Front, entry: Entry, settings: StudyFile, record: Record) -> str:
    """Return the recipe of a model as TOML."""
    latency, rated = {}, read_importance(front.folder)
    for name, file in record.files.items():
        numbers = {key: getattr(file.latency, key) for key in LatencyFigure.__dataclass_fields__}
        latency[name] = LatencyFigure(**numbers)
    recipe = Recipe(
        study=portable(settings.model_dump(mode="json", by_alias=True, exclude={"path"}), settings.folder),
        students=tuple(_students(front, entry.trial)),
        choices=dict(entry.trial.plan.choices),
        identity=read_object(front.folder / "identity.json") or {},
        metric=record.metric,
        validation={name: file.validation for name, file in record.files.items()},
        test=record.test,
        latency=latency,
        files={name: file.file for name, file in record.files.items()},
        sha256={name: file.sha256 for name, file in record.files.items()},
        sources=sources_of(settings),
        criterion="" if rated is None else rated.criterion,
        importance={} if rated is None else {name: tuple(v.tolist()) for name, v in rated.channels.items()},
        calibration={name: file.calibration for name, file in record.files.items() if file.calibration},
    )
    head = "# How this model was made. `autocompress rebuild` makes it again from its teacher and its data.\n\n"
    return head + toml_text(to_plain(recipe))


def read_recipe(path: Path) -> Recipe:
    """Return a recipe.

    Raises:
        BundleError: The file is missing, is no recipe, or another version wrote it.
    """
    try:
        kept = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BundleError(f"{path}: no such file; give the recipe.toml of a bundle") from None
    except (OSError, ValueError) as error:
        raise BundleError(f"{path}: cannot be read ({one_line(error)}); restore it from a copy") from error
    if kept.get("format") != FORMAT:
        raise BundleError(f"{path}: no recipe of format {FORMAT}, as this version reads; use the one that wrote it")
    try:
        found = from_plain(Recipe, {"test": None, **kept})
    except ValueError as error:
        raise BundleError(f"{path}: is no recipe ({one_line(error)[:120]}); restore it from a copy") from error
    if lack := _lacks(found):
        raise BundleError(f"{path}: is no recipe: it has {lack}; restore it from a copy")
    return found


def _lacks(recipe: Recipe) -> str:
    """Return what a recipe cannot be carried out without; empty if it has everything."""
    if not recipe.students:
        return "no students"
    if not recipe.validation:
        return "no figures to compare with"
    if without := sorted(recipe.validation.keys() - recipe.latency.keys()):
        return f"no latency of {without[0]}"
    made: set[int] = set()
    for student in recipe.students:
        if student.begins_with is not None and student.begins_with not in made:
            return f"no student {student.begins_with}, with which {student.number} begins"
        made.add(student.number)
    return ""


def toml_text(values: Mapping[str, Any]) -> str:
    """Return plain values as TOML 1.0; what is None is left out."""
    plain = {k: v for k, v in values.items() if v is not None and not isinstance(v, Mapping)}
    lines = [f"{_key(key)} = {_inline(value)}" for key, value in plain.items()]
    return "\n".join([*lines, *_tables(values, "")]) + "\n"


def _tables(values: Mapping[str, Any], prefix: str) -> list[str]:
    lines: list[str] = []
    for key, value in values.items():
        if not isinstance(value, Mapping):
            continue
        name = f"{prefix}{_key(key)}"
        lines += ["", f"[{name}]"]
        inner = {k: v for k, v in value.items() if v is not None and not isinstance(v, Mapping)}
        lines += [f"{_key(k)} = {_inline(v)}" for k, v in inner.items()]
        lines += _tables(value, f"{name}.")
    return lines


def _inline(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(k)} = {_inline(v)}" for k, v in value.items() if v is not None)
        return f"{{{inner}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(_inline(v) for v in value if v is not None)}]"
    return str(quoted(value))


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else str(quoted(key))


def _students(front: Front, trial: Trial) -> list[Ingredient]:
    """Return the students that a trial hangs on, then its own."""
    chain = [trial]
    while (start := chain[-1].warm_start) is not None:
        before = next((t for t in front.trials if t.number == start.number), None)
        if before is None:
            raise BundleError(f"trial {start.number}, whose weights trial {chain[-1].number} began with, is gone")
        chain.append(before)
    found = []
    for step in reversed(chain):
        number = None if step.warm_start is None else step.warm_start.number
        found.append(Ingredient(step.number, step.spec, number, step.seed))
    return found
