"""What all tests share: a tiny task on disk, a finished study over it, the command line in this process."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from autocompress.search.executors.base import ExecutorContext
    from autocompress.search.report.front import Front

HELPERS = Path(__file__).with_name("helpers")

# Some examples build a network: how long one takes says nothing about the law it tries.
settings.register_profile("tests", deadline=None, max_examples=60)
settings.load_profile("tests")

SECTIONS = {
    "target": {"batch": 32, "profile_seconds": 0.0, "learn_seconds": 8.0},
    "recovery": {"epochs": 2.0, "rungs": (0.5, 1.0), "batch_size": 64},
}
"""Of the finished study: batches large enough that widths differ in latency, trainings of two seconds."""


@pytest.fixture(scope="session")
def tiny_task(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The task file of `tiny_task.py`, in a folder of its own, with its teacher trained."""
    from autocompress.studies.task import load_task

    folder = tmp_path_factory.mktemp("task")
    path = Path(shutil.copy(HELPERS / "tiny_task.py", folder))
    load_task(str(path))
    return path


@pytest.fixture(scope="session")
def finished(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> Front:
    """The front of a search of eight trials, through the door that Python users take."""
    import autocompress
    from autocompress.studies.task import load_task

    runs = tmp_path_factory.mktemp("runs")
    return autocompress.compress(load_task(str(tiny_task)), budget_ms=50.0, trials=8, runs=runs, **SECTIONS)


Said = tuple[int, str, str]


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Callable[..., Said]:
    """Run a command as a user would: exit code, standard output, standard error."""
    from autocompress.cli import main

    def run(*arguments: object) -> Said:
        capfd.readouterr()
        code = 0
        try:
            main.main([str(a) for a in arguments], prog_name="autocompress")
        except SystemExit as left:
            code = int(left.code or 0)
        said = capfd.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture(scope="session")
def executor_context(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> ExecutorContext:
    """What executors need, over the tiny task."""
    from autocompress.search.evaluate.context import open_context
    from autocompress.search.executors.base import ExecutorContext
    from autocompress.studies.checkpoint import save_weights
    from autocompress.studies.study_file import StudyFile

    folder = tmp_path_factory.mktemp("executor")
    settings = StudyFile().changed("task", **{"from": str(tiny_task)})
    for name, values in SECTIONS.items():
        settings = settings.changed(name, **values)
    task = settings.build_task()
    save_weights(task.teacher, folder / "teacher.safetensors")
    return ExecutorContext(open_context(task.prepared(), settings, folder), settings, folder)
