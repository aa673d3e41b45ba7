"""The followers that a user asks for."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from ...errors import UsageError
from .base import Follower
from .mlflow import MlflowFollower
from .tensorboard import TensorBoardFollower


def followers_asked(tensorboard: Path | None = None, mlflow: str | None = None) -> list[Follower]:
    """Return what logs the trials of a search elsewhere.

    Args:
        tensorboard: A folder that TensorBoard is started with; None for no such files.
        mlflow: Where MLflow keeps its runs, such as "http://server:5000" or "sqlite:///mlflow.db"; None for no runs.

    Raises:
        UsageError: A library is not installed, or what is given cannot be.
    """
    found: list[Follower] = []
    if tensorboard is not None:
        _check("tensorboard")
        if tensorboard.exists() and not tensorboard.is_dir():
            raise UsageError(f"--tensorboard {tensorboard} is a file; give a folder, new or not")
        found.append(TensorBoardFollower(tensorboard))
    if mlflow is not None:
        _check("mlflow")
        if not mlflow.strip():
            raise UsageError("--mlflow is empty; give a URI such as http://server:5000 or sqlite:///mlflow.db")
        found.append(MlflowFollower(mlflow))
    return found


def _check(library: str) -> None:
    if importlib.util.find_spec(library) is None:
        raise UsageError(f"--{library} needs {library}, which is not installed: pip install 'autocompress[{library}]'")
