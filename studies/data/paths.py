"""Where files that a study names are looked for."""

from __future__ import annotations

import os
from pathlib import Path

from ...errors import DataError
from ...files import expanded

DATA_VARIABLE = "AUTOCOMPRESS_DATA"


def data_folders(study_folder: Path | None = None) -> list[Path]:
    """Return where data is looked for: the study file's folder, the current one, that named by AUTOCOMPRESS_DATA."""
    folders = [*([study_folder] if study_folder else []), Path.cwd()]
    variable = os.environ.get(DATA_VARIABLE)
    if variable:
        folders.append(expanded(variable))
    return list(dict.fromkeys(folder.absolute() for folder in folders))


def find_data(name: str, study_folder: Path | None = None) -> Path:
    """Find the file or folder that `name` means.

    Args:
        name: A path; a relative one is looked for in `data_folders`.
        study_folder: The study file's folder.

    Raises:
        DataError: There is none; the message says where it was looked for.
    """
    path = expanded(name)
    folders = [Path()] if path.is_absolute() else data_folders(study_folder)
    for folder in folders:
        if (folder / path).exists():
            return folder / path
    if path.is_absolute():
        raise DataError(f"no data file {name}: correct the path")
    looked = ", ".join(map(str, folders))
    raise DataError(
        f"no data file {name!r} (looked in {looked}): correct the path, or name its folder in {DATA_VARIABLE}"
    )
