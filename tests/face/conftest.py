"""Where commands are tried: an empty folder, and a study to look at."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from simulated_study import write_study


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("file").write_text("x")
    Path("folder").mkdir()


@pytest.fixture(scope="session")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study of eight trials, without a network: each worker writes its own."""
    made = tmp_path_factory.mktemp("written") / "simulated"
    write_study(made, 8)
    return made


@pytest.fixture
def study(written: Path, tmp_path: Path) -> Path:
    """A copy of that study in the folder of runs: looking at it is what is tried here."""
    return Path(shutil.copytree(written, tmp_path / "runs" / "simulated"))
