"""What a recipe says of the files that a study names: never where they lay on the machine that searched."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath, PureWindowsPath
from typing import Any

from ...errors import AutoCompressError, BundleError
from ...files import digest, expanded
from ...studies.study_file import StudyFile, bundled_folder, load_study


def portable(value: Any, folder: Path) -> Any:
    """Return plain values with each absolute path in them made relative, so that they tell nothing of a machine.

    Args:
        value: Settings as plain values.
        folder: The study's. What lies below it is told from there; of all else the last part alone is kept.
    """
    if isinstance(value, Mapping):
        return {key: portable(inner, folder) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [portable(inner, folder) for inner in value]
    return without_place(value, folder) if isinstance(value, str) else value


def without_place(text: str, folder: Path) -> str:
    """Return a path, or `file.py:function`, without the place of an absolute one; other texts as they are."""
    path: PurePath = PurePosixPath(text)
    if not path.is_absolute():
        path = PureWindowsPath(text)
        if not path.is_absolute() or not path.drive:
            return text
    try:
        return path.relative_to(folder).as_posix()
    except ValueError:
        return path.name or "."


def sources_of(settings: StudyFile) -> dict[str, str]:
    """Return the files that a study was written in, from its folder, with the SHA-256 of each.

    They are the study's own file, unless it comes with this package, and those of the user's task and network.
    """
    if settings.folder == bundled_folder():
        return {}
    found = {settings.path.name: settings.path} if _is_written_in(settings) else {}
    for name in code_files(settings):
        found[without_place(name, settings.folder)] = settings.folder / expanded(name)
    return {name: digest(path) for name, path in found.items() if path.is_file()}


def code_files(settings: StudyFile) -> list[str]:
    """Return the files of the user's task and network, as the study names them; modules have none."""
    named = [code if code.endswith(".py") else code.rpartition(":")[0] for code in settings.code]
    return [name for name in named if name.endswith(".py")]


def _is_written_in(settings: StudyFile) -> bool:
    """Tell whether the file that a study lies beside is its own: one of --task is in no file."""
    try:
        there = load_study(str(settings.path))
    except AutoCompressError:
        return False
    return there.code == settings.code


def find_folder(sources: Mapping[str, str], recipe: Path) -> Path:
    """Return where the files of a study are: the current folder, or the nearest above its recipe that has them.

    Args:
        sources: Name of each file -> its SHA-256. A folder with the very same files goes before one with others.
        recipe: The folder of the recipe.

    Raises:
        BundleError: They are nowhere there.
    """
    if not sources:
        return Path.cwd()
    folders = list(dict.fromkeys([Path.cwd(), recipe.absolute(), *recipe.absolute().parents]))
    whole = [folder for folder in folders if all((folder / name).is_file() for name in sources)]
    same = (folder for folder in whole if not changed(sources, folder))
    found = next(same, None) or next(iter(whole), None)
    if found is None:
        raise BundleError(
            f"{' and '.join(sources)}, which the study is written in, found neither in {Path.cwd()} nor above the "
            "recipe: run this in their folder, or give it with --data"
        )
    return found


def changed(sources: Mapping[str, str], folder: Path) -> Sequence[str]:
    """Return the names of the files in a folder that are not what they were."""
    return [name for name, sha256 in sources.items() if (folder / name).is_file() and digest(folder / name) != sha256]
