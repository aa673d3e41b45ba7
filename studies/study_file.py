"""A study file (TOML), read and checked, and the task that it describes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, ValidationError, field_validator

from ..errors import AutoCompressError, DataError, StudyFileError, UnknownName, UsageError
from ..files import expanded
from .checkpoint import load_weights
from .complaints import complaint
from .data.paths import find_data
from .data.source import build_data
from .models import build_model, is_code
from .schema import StudySections
from .task import Task, load_task
from .written import check_effect, check_written, not_default, written_in


class StudyFile(StudySections):
    """The sections of a study, with the path they came from.

    A study that was made in Python (`StudyFile()`) has defaults in every section, and lies in the current folder.

    Attributes:
        path: Of the file, made absolute. Files that a study names are looked for beside it first.
    """

    path: Annotated[Path, Field(strict=False, validate_default=True)] = Path("study.toml")

    @field_validator("path")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        # A study is read back in other folders, and still means the files beside it.
        return expanded(path).absolute()

    @property
    def folder(self) -> Path:
        """Where relative names in the file start."""
        return self.path.parent

    @property
    def code(self) -> tuple[str, ...]:
        """The user's own code that making the task runs, as the study names it: its task, or its network."""
        model = self.teacher.model
        named = (self.task.source, model if model is not None and is_code(model) else None)
        return tuple(name for name in named if name is not None)

    def named(self, name: str) -> StudyFile:
        """Return the same study under another name, which its folder takes.

        Raises:
            UsageError: It is no name of a folder.
        """
        try:
            return self.model_copy(update={"name": StudySections.model_validate({"name": name}).name})
        except ValidationError as error:
            raise UsageError(f"{complaint(error)}; give the task another name") from error

    def changed(self, section: str, **values: Any) -> StudyFile:
        """Return the same study with other values in one section, as options of the command line give them.

        Args:
            section: Name of the section.
            **values: Its keys, spelled as in a file, with what they shall be.

        Raises:
            UsageError: A value cannot be; the message is one line with the allowed range.
            StudyFileError: The keys of a task, its data or its teacher contradict each other.
        """
        before = getattr(self, section)
        merged = {**before.model_dump(by_alias=True, exclude_unset=True), **values}
        try:
            # as a part of the whole, so that mistakes are told as those in a file are
            checked = getattr(StudySections.model_validate({section: merged}), section)
        except ValidationError as error:
            raise UsageError(complaint(error)) from error
        study = self.model_copy(update={section: checked})
        if section in ("task", "data", "teacher"):
            written = not_default(study)
            check_written(study, {**written, section: written[section] | values.keys()})
        return study

    def build_task(self) -> Task:
        """Make the task. Its teacher has the weights of the checkpoint, or is untrained; nothing is trained here.

        Raises:
            StudyFileError: Sections do not fit together, or the user's own task cannot be loaded.
            DataError: A file is missing or cannot be used.
            UnknownName: There is no network or data of some name.
        """
        if self.task.source is not None:
            return load_task(self.task.source, self.folder)
        if self.teacher.model is None:
            raise StudyFileError(
                f"{self.path}: [teacher] needs 'model', or [task] needs 'from': name a network or your own task"
            )
        try:
            splits = build_data(self.data, self.folder)
            classes = splits.train.classes
            channels = splits.train.images.shape[1]
            teacher = build_model(
                self.teacher.model, classes, channels, self.teacher.width, self.teacher.seed, self.folder
            )
        except StudyFileError as error:
            raise StudyFileError(f"{self.path}: {error}") from error
        if self.teacher.checkpoint is not None:
            load_weights(teacher, find_data(self.teacher.checkpoint, self.folder))
        elif self.teacher.epochs == 0:
            raise DataError(
                f"{self.path}: [teacher] has neither a checkpoint nor epochs: an untrained network cannot teach"
            )
        labels = splits.labels or None
        return Task(teacher, splits.train, splits.validation, splits.test, name=self.name, labels=labels)


def load_study(path_or_name: str | Path) -> StudyFile:
    """Read a study file by its path, or a bundled one by its name (`digits`).

    Args:
        path_or_name: A path, or a name of `bundled_studies`.

    Raises:
        StudyFileError: The file is missing, is not TOML, has wrong values, or has keys without an effect.
        UnknownName: It is no path, and no bundled study has this name.
    """
    path = _find(str(path_or_name))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise StudyFileError(f"{path}: cannot be read: {error.strerror}") from error
    content.setdefault("name", safe_name(path.stem))
    try:
        sections = StudySections.model_validate(content)
    except ValidationError as error:
        raise StudyFileError(f"{path}: {complaint(error)}") from error
    try:
        check_written(sections, written_in(sections))
        check_effect(sections, written_in(sections))
    except AutoCompressError as error:
        raise StudyFileError(f"{path}: {error}") from error
    given = {name: getattr(sections, name) for name in sections.model_fields_set}
    study = StudyFile(path=path, **given)
    least = study.budget.min_accuracy
    if study.task.source is None and least is not None and not 0 < least <= 1:
        raise StudyFileError(
            f"{path}: [budget] min_accuracy = {study.budget.min_accuracy:g}; allowed: a share of 1, such as 0.85"
        )
    return study


def bundled_studies() -> list[str]:
    """Return the names of the study files that come with this package."""
    return sorted(path.stem for path in bundled_folder().glob("*.toml"))


def bundled_folder() -> Path:
    """Return where the study files lie that come with this package."""
    return Path(__file__).parent


def _find(path_or_name: str) -> Path:
    path = expanded(path_or_name)
    if path.is_file():
        return path
    bundled = bundled_folder() / f"{path_or_name}.toml"
    if path_or_name in bundled_studies():
        return bundled
    if path.suffix == ".toml" or path.name != path_or_name:
        known = ", ".join(bundled_studies())
        raise StudyFileError(
            f"no study file {path_or_name} (looked from {Path.cwd()}): correct the path, or name a bundled study: "
            f"{known}"
        )
    raise UnknownName("study", path_or_name, bundled_studies(), "Or give the path of a .toml file.")


def safe_name(stem: str) -> str:
    """Return the name of a study for a file that may be called anything: its folder takes this name."""
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in stem).lstrip("._-")
    return kept[:100] or "study"
