"""A study file (TOML), read and checked, and the task that it describes."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from ..errors import DataError, StudyFileError, UnknownName, UsageError
from .checkpoint import load_weights
from .complaints import complaint
from .data.paths import find_data
from .schema import StudySections
from .task import Task, load_task


class StudyFile(StudySections):
    """The sections of a study, with the path they came from: files they name are looked for beside it first.

    Without a file of its own (`StudyFile()`), every section has its defaults and path is the current folder.
    """

    path: Path = Path("study.toml")

    @property
    def folder(self) -> Path:
        """Where relative names in the file start."""
        return self.path.absolute().parent

    def changed(self, section: str, **values: Any) -> StudyFile:
        """The same study with other values in one section, as options of the command line give them.

        Raises UsageError in one line, with the allowed range, for a value that cannot be.
        """
        before = getattr(self, section)
        merged = {**before.model_dump(by_alias=True, exclude_unset=True), **values}
        try:
            # as a part of the whole, so that mistakes are told as those in a file are
            checked = getattr(StudySections.model_validate({section: merged}), section)
        except ValidationError as error:
            raise UsageError(complaint(error)) from error
        return self.model_copy(update={section: checked})

    def build_task(self) -> Task:
        """The task, its teacher with the weights of the checkpoint or untrained; nothing is trained here.

        Raises StudyFileError for sections that do not fit together, DataError for files, UnknownName for names.
        """
        if self.task.source is not None:
            self._refuse_parts()
            return load_task(self.task.source, self.folder)
        # Imported here, because reading a study file must not cost an import of what builds data.
        from .data.datasets import build_data
        from .models import build_model

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
        return Task(teacher, splits.train, splits.validation, splits.test, name=self.name)

    def _refuse_parts(self) -> None:
        for section, keys in (("data", self.data.model_fields_set), ("teacher", {"model", "width", "checkpoint"})):
            given = sorted(keys & getattr(self, section).model_fields_set)
            if given:
                raise StudyFileError(
                    f"{self.path}: [task] from = {self.task.source!r} already brings what [{section}] {given[0]} "
                    "says: remove one of them"
                )


def load_study(path_or_name: str | Path) -> StudyFile:
    """A study file by its path, or a bundled one by its name (`digits`).

    Raises StudyFileError for a file that is missing, not TOML or has wrong values; UnknownName for another name.
    """
    path = _find(str(path_or_name))
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StudyFileError(f"{path}: not valid TOML: {error}") from error
    except OSError as error:
        raise StudyFileError(f"{path}: cannot be read: {error.strerror}") from error
    content.setdefault("name", _safe_name(path.stem))
    try:
        sections = StudySections.model_validate(content)
    except ValidationError as error:
        raise StudyFileError(f"{path}: {complaint(error)}") from error
    given = {name: getattr(sections, name) for name in sections.model_fields_set}
    study = StudyFile(path=path, **given)
    if study.task.source is None and study.budget.min_accuracy is not None and study.budget.min_accuracy > 1:
        raise StudyFileError(
            f"{path}: [budget] min_accuracy = {study.budget.min_accuracy:g}; allowed: a share of 1, such as 0.85"
        )
    return study


def bundled_studies() -> list[str]:
    """The names of the study files that come with this package."""
    return sorted(path.stem for path in _home().glob("*.toml"))


def _home() -> Path:
    return Path(__file__).parent


def _find(path_or_name: str) -> Path:
    path = Path(path_or_name).expanduser()
    if path.is_file():
        return path
    bundled = _home() / f"{path_or_name}.toml"
    if path_or_name in bundled_studies():
        return bundled
    if path.suffix == ".toml" or path.name != path_or_name:
        known = ", ".join(bundled_studies())
        raise StudyFileError(
            f"no study file {path_or_name} (looked from {Path.cwd()}): correct the path, or name a bundled study: "
            f"{known}"
        )
    raise UnknownName("study", path_or_name, bundled_studies(), "Or give the path of a .toml file.")


def _safe_name(stem: str) -> str:
    # A file may be called anything; the study's folder takes this name.
    kept = "".join(c if c.isascii() and (c.isalnum() or c in "._-") else "_" for c in stem).lstrip("._-")
    return kept or "study"
