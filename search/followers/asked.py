"""The followers that a user asks for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from ...errors import UsageError, one_line
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
        if tensorboard.exists() and not tensorboard.is_dir():
            raise UsageError(f"--tensorboard {tensorboard} is a file; give a folder, new or not")
        with _installed("tensorboard"):
            found.append(TensorBoardFollower(tensorboard))
    if mlflow is not None:
        if not mlflow.strip():
            raise UsageError("--mlflow is empty; give a URI such as http://server:5000 or sqlite:///mlflow.db")
        with _installed("mlflow"):
            found.append(MlflowFollower(mlflow))
    return found


@contextlib.contextmanager
def _installed(library: str) -> Iterator[None]:
    try:
        yield
    except ImportError as error:
        raise UsageError(
            f"--{library} needs {library} ({one_line(error)[:120]}): pip install 'autocompress[{library}]'"
        ) from error
