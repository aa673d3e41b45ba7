"""Reading commands on studies of every origin, from the folder that they were begun in and from another one."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from brief import brief

import autocompress
from autocompress.search.run import run_search
from autocompress.studies.study_file import StudyFile, load_study
from autocompress.studies.task import load_task

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("briefly")]

Cli = Callable[..., tuple[int, str, str]]
ORIGINS = ("bundled", "written", "task", "folder", "python")
NEEDS_TASK = ("python",)
"""Studies whose settings do not say what their task is."""


def small(settings: StudyFile) -> StudyFile:
    """A search of one trial: the teacher as it is."""
    settings = settings.changed("target", batch=32, profile_seconds=0.0, precision=0.5)
    settings = settings.changed("space", axes=("bits",))
    return settings.changed(
        "search", trials=1, minutes=None, without=("latency_model", "sensitivity", "initial_design")
    )


@pytest.fixture(scope="session")
def studies(tiny_task: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Origin -> the folder of a finished study; each was begun in a folder of its own."""
    found: dict[str, Path] = {}
    before = Path.cwd()
    for origin in ORIGINS:
        home = tmp_path_factory.mktemp(origin)
        os.chdir(home)
        try:
            with brief():
                found[origin] = begun(origin, tiny_task, home)
        finally:
            os.chdir(before)
    return found


def begun(origin: str, tiny_task: Path, home: Path) -> Path:
    from autocompress.cli.options import find_study

    if origin == "python":
        front = autocompress.compress(
            load_task(str(tiny_task)),
            trials=1,
            batch=32,
            axes=["bits"],
            target={"profile_seconds": 0.0, "precision": 0.5},
            search={"without": ("latency_model", "sensitivity", "initial_design")},
        )
        return front.folder.absolute()
    if origin == "bundled":
        settings = load_study("digits").changed("teacher", epochs=1, width=8)
    elif origin == "written":
        (home / "mine.toml").write_text(
            "[data]\nkind = 'digits'\n[teacher]\nmodel = 'digits_net'\nwidth = 8\nepochs = 1\n"
        )
        settings = load_study("mine.toml")
    elif origin == "task":
        (home / "own_task.py").write_text(
            f"import sys\nsys.path.insert(0, {str(tiny_task.parent)!r})\nfrom tiny_task import task\n"
        )
        settings = find_study(None, "own_task.py")
    else:
        (home / "my_own.py").write_text(
            f"import sys\nsys.path.insert(0, {str(tiny_task.parent)!r})\nfrom tiny_task import task\n"
        )
        (home / "autocompress.toml").write_text("[task]\nfrom = 'my_own.py'\n")
        settings = find_study(None, None)
    return run_search(small(settings)).front.folder.absolute()


ELSEWHERE = [(origin, "elsewhere") for origin in ORIGINS]
EVERYWHERE = [*ELSEWHERE, *((origin, "at home") for origin in ORIGINS)]


@pytest.fixture
def study(
    request: pytest.FixtureRequest, studies: dict[str, Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> tuple[str, str]:
    """The origin of a study, and what it is called: its name where it was begun, its path in another folder."""
    origin, place = request.param
    folder = studies[origin]
    monkeypatch.chdir(folder.parent.parent if place == "at home" else tmp_path)
    return origin, folder.name if place == "at home" else str(folder)


@pytest.mark.parametrize("study", EVERYWHERE, indirect=True, ids="-".join)
def test_front_and_pick_read_it(cli: Cli, study: tuple[str, str], tmp_path: Path) -> None:
    name = study[1]
    code, out, err = cli("front", name)
    assert (code, err) == (0, "") and "1 trial" in out and "teacher" in out
    code, out, err = cli("front", name, "--json")
    assert (code, err) == (0, "") and [row["outcome"] for row in json.loads(out)] == ["finished"]
    code, out, err = cli("pick", name, "--out", tmp_path / "deploy")
    assert (code, err) == (0, "") and (tmp_path / "deploy" / "model.onnx").is_file()
    assert len(autocompress.open_study(name).trials) == 1


@pytest.mark.parametrize("study", EVERYWHERE, indirect=True, ids="-".join)
def test_space_reads_it(cli: Cli, study: tuple[str, str]) -> None:
    code, out, err = cli("space", study[1], "--json")
    assert (code, err) == (0, "")
    assert {variable["axis"] for variable in json.loads(out)["variables"]} == {"bits", "recovery"}


@pytest.mark.parametrize("study", [*ELSEWHERE, ("task", "at home")], indirect=True, ids="-".join)
def test_sensitivity_reads_it(cli: Cli, study: tuple[str, str], tiny_task: Path) -> None:
    origin, name = study
    if origin in NEEDS_TASK:
        code, _, err = cli("sensitivity", name)
        assert code == 2 and "name it with --task" in err.splitlines()[-1]
    task = ("--task", tiny_task) if origin in NEEDS_TASK else ()
    code, out, err = cli("sensitivity", name, "--json", *task)
    assert code == 0, err
    assert all(row.startswith("bits:") for row in json.loads(out)["rows"])


@pytest.mark.parametrize("study", [*ELSEWHERE, ("task", "at home")], indirect=True, ids="-".join)
def test_export_reads_it(cli: Cli, study: tuple[str, str], tiny_task: Path, tmp_path: Path) -> None:
    origin, name = study
    arguments = ("--trial", 1, "--to", "onnxruntime", "--out", tmp_path / "export")
    if origin in NEEDS_TASK:
        code, _, err = cli("export", name, *arguments)
        assert code == 2 and "name it with --task" in err.splitlines()[-1]
    task = ("--task", tiny_task) if origin in NEEDS_TASK else ()
    code, out, err = cli("export", name, *arguments, *task)
    assert code == 0, err
    assert (tmp_path / "export" / "onnxruntime" / "model.onnx").is_file() and "onnxruntime" in out


def test_the_space_of_a_study_that_was_never_begun_is_shown_without_measuring(
    cli: Cli, tiny_task: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "autocompress.toml").write_text(f"[task]\nfrom = '{tiny_task}'\n")
    for arguments in ((), ("autocompress.toml",), ("--task", tiny_task), ("digits",)):
        code, out, err = cli("space", *arguments, "--json")
        assert code == 0 and json.loads(out)["variables"]
        assert err == "" if arguments else "taking ./autocompress.toml" in err
    assert not (tmp_path / "runs").exists()
