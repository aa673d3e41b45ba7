"""What all tests share: a tiny task on disk, a finished study over it, the command line in this process."""

from __future__ import annotations

import functools
import os
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from brief import brief
from hypothesis import settings
from postgres import Postgres, postgres_server

if TYPE_CHECKING:
    from autocompress.search.report.front import Front

HELPERS = Path(__file__).with_name("helpers")

# Some examples build a network: how long one takes says nothing about the law it tries.
settings.register_profile("tests", deadline=None, max_examples=60)
settings.load_profile("tests")

Said = tuple[int, str, str]

SHARED = ("studies", "exported", "for_all", "any_of", "finished", "opened_context", "executor_context", "postgres")
"""Fixtures that take a search, a calibration or a server. Tests that want one run in one worker: it is made once."""
IN_CLASS = ("artifact", "built")
"""Fixtures of the runtimes' conformance suite, which keeps the files that it builds with the class."""
AT_NO_COST = ("briefly", "quick")
"""Fixtures of a module that any worker makes in no time."""


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known where pytest-xdist, which brings it, is not installed."""
    config.addinivalue_line("markers", "xdist_group(name): tests of one name run one after the other in one worker")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the tests that share what takes long to make in one worker."""
    for item in items:
        if isinstance(item, pytest.Function) and not any(item.iter_markers("xdist_group")):
            group = _shares(item)
            if group is not None:
                item.add_marker(pytest.mark.xdist_group(group))


def _shares(item: pytest.Function) -> str | None:
    """Return what a test shares with others, as the name of their group."""
    if wanted := [name for name in SHARED if name in item.fixturenames]:
        return "finished" if "finished" in wanted else wanted[0]
    if item.cls is not None and any(name in item.fixturenames for name in IN_CLASS):
        return str(item.cls.__name__)
    scopes = {name: found[-1].scope for name, found in item._fixtureinfo.name2fixturedefs.items()}
    if any(scope in ("class", "module") and name not in AT_NO_COST for name, scope in scopes.items()):
        return item.path.stem
    return None


def pytest_runtest_setup() -> None:
    """Let torch's exporter, once it is there, learn the same list of operators once: half of a small export is that."""
    exporter: Any = sys.modules.get("torch.onnx._internal.exporter._registration")
    listed = getattr(getattr(exporter, "onnxscript_apis", None), "get_torchlib_ops", None)
    if listed is not None and not hasattr(listed, "cache_info"):
        exporter.onnxscript_apis.get_torchlib_ops = functools.cache(listed)


@pytest.fixture(scope="session", autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests neither read nor fill the cache of the user who runs them, and each worker has temporary files of its own.

    The locks of the quiet rule are temporary files. So workers do not wait for each other's measurements: each has a
    core, and what tests say of latencies holds under a neighbour's load. No test waits for the disk either: what is
    there after a power cut is nothing that a test sees.
    """
    with pytest.MonkeyPatch.context() as patch, tempfile.TemporaryDirectory(prefix="ac-") as folder:
        patch.setattr(os, "fsync", lambda handle: None)
        # else each process that a test starts compiles the package for itself, which takes it a second
        patch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
        if "AUTOCOMPRESS_CACHE" not in os.environ:
            patch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path_factory.mktemp("cache")))
        if "PYTEST_XDIST_WORKER" in os.environ:
            patch.setenv("TMPDIR", folder)
            patch.setattr(tempfile, "tempdir", folder)
        yield


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers see, for what is made once in a run of the tests."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def tiny_task(shared_folder: Path) -> Path:
    """The task file of `tiny_task.py`, in a folder of its own, with its teacher trained."""
    from filelock import FileLock

    from autocompress.studies.task import load_task

    path = shared_folder / "task" / "tiny_task.py"
    with FileLock(shared_folder / "task.lock"):
        if not path.exists():
            path.parent.mkdir()
            shutil.copy(HELPERS / "tiny_task.py", path)
            load_task(str(path))
    return path


@pytest.fixture(scope="session")
def sections() -> dict[str, dict[str, Any]]:
    """Settings of small studies: batches large enough that widths differ in latency, trainings of a second."""
    return {
        "target": {"batch": 32, "profile_seconds": 0.0, "learn_seconds": 2.0, "precision": 0.5},
        "recovery": {"epochs": 2.0, "rungs": (0.5, 1.0), "batch_size": 64},
    }


@pytest.fixture(scope="session")
def finished(tiny_task: Path, sections: dict[str, dict[str, Any]], shared_folder: Path) -> Front:
    """The front of a search of eight trials, through the door that Python users take.

    It is made once, by the worker that wants it first. Tests leave its folder as it is: they write into copies.
    """
    from filelock import FileLock

    import autocompress
    from autocompress.files import write_bytes
    from autocompress.studies.task import load_task

    kept = shared_folder / "finished.pickle"
    with FileLock(shared_folder / "finished.lock"):
        if not kept.exists():
            task, runs = load_task(str(tiny_task)), shared_folder / "finished"
            with brief():
                front = autocompress.compress(task, budget_ms=50.0, trials=8, runs=runs, **sections)
            write_bytes(kept, pickle.dumps(front))
            return front
    found: Front = pickle.loads(kept.read_bytes())
    return found


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A PostgreSQL server that runs as long as these tests do."""
    with postgres_server() as server:
        yield server


@pytest.fixture(scope="module")
def briefly() -> Iterator[None]:
    """All that this module's tests measure in this process takes one process; see `brief`."""
    with brief():
        yield


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
