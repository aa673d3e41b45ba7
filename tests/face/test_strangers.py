"""What comes from somebody else: no code of theirs runs before a user says so, and their folders are not ours."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from simulated_study import write_study

from autocompress.errors import UsageError
from autocompress.evaluators.timing.quiet import QuietMachine, own_folder
from autocompress.search.store.made_here import FILE
from autocompress.search.store.settings import read_settings, write_settings
from autocompress.studies.study_file import StudyFile, safe_name

Cli = Callable[..., tuple[int, str, str]]

EVIL = """
from pathlib import Path
Path(__file__).with_name("touched").touch()
def task(): raise SystemExit("stop here")
def model(): raise SystemExit("stop here")
"""


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "theirs.py"
    path.write_text(EVIL)
    return path


@pytest.fixture(params=["task", "network"])
def sent(request: pytest.FixtureRequest, code: Path) -> Path:
    """A study's folder that somebody sent, whose settings name code that lies beside it."""
    folder = code.parent / "simulated"
    write_study(folder, 8)
    settings = read_settings(folder).model_copy(update={"path": code.parent / "study.toml"})
    if request.param == "task":
        settings = settings.changed("task", **{"from": code.name})
    else:
        settings = settings.changed("teacher", model=f"{code.name}:model", epochs=1)
    write_settings(folder, settings)
    (folder / FILE).unlink()
    return folder


@pytest.mark.parametrize(
    "command",
    [
        ("sensitivity", "simulated"),
        ("export", "simulated", "--trial", "1", "--to", "onnxruntime"),
        ("search", "simulated", "--trials", "1"),
        ("space", "simulated"),
    ],
    ids=lambda command: command[0],
)
def test_a_study_from_elsewhere_runs_no_code(cli: Cli, sent: Path, code: Path, command: tuple[str, ...]) -> None:
    if command[0] == "space":
        (sent / "space.json").unlink()  # else it is read
    touched = code.with_name("touched")
    said = cli(*command)
    assert said[0] == 2 and said[2].count("autocompress: ") == 1
    assert "theirs.py" in said[2] and "--run-code" in said[2]
    assert not touched.exists()
    assert cli(*command, "--run-code")[0] == 2
    assert touched.exists(), "told to, it runs"


def test_looking_at_a_study_from_elsewhere_runs_no_code(cli: Cli, sent: Path, code: Path, tmp_path: Path) -> None:
    commands: list[tuple[str, ...]] = [
        ("front", "simulated"),
        ("front", "simulated", "--techniques"),
        ("space", "simulated"),
        ("report", "simulated", "--out", "page.html"),
        ("compare", "simulated", "simulated", "--out", "two.html"),
        ("pick", "simulated", "--out", "deploy"),
    ]
    for command in commands:
        assert cli(*command)[0] in (0, 2), command
        assert not code.with_name("touched").exists(), command


def test_a_mark_counts_for_the_very_code_it_was_made_for(tmp_path: Path) -> None:
    from autocompress.search.store.made_here import check_made_here

    settings = StudyFile(path=tmp_path / "a.toml").changed("task", **{"from": "mine.py"})
    write_settings(tmp_path, settings)
    check_made_here(tmp_path, settings)
    for other in (
        settings.changed("task", **{"from": "other.py"}),
        settings.model_copy(update={"path": Path("/x/a.toml")}),
    ):
        with pytest.raises(UsageError, match="names code"):
            check_made_here(tmp_path, other)
    if os.getuid() == 0:
        os.chown(tmp_path / FILE, 65534, 65534)
        with pytest.raises(UsageError, match="names code"):
            check_made_here(tmp_path, settings)
    for broken in ("[]", '{"mark": 7}', "{}"):
        (tmp_path / FILE).write_text(broken)
        with pytest.raises(UsageError, match="names code"):
            check_made_here(tmp_path, settings)


def test_a_study_file_that_was_not_asked_for_is_named(cli: Cli, code: Path) -> None:
    Path("autocompress.toml").write_text("[task]\nfrom = 'theirs.py'\n")
    code_, _, err = cli("space")
    assert code_ == 2 and "taking ./autocompress.toml, which runs theirs.py" in err
    Path("autocompress.toml").write_text("[search]\nminuts = 3\n")
    assert "minuts" in cli("space")[2]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", str(tmp_path / "cache"))
    return folder / f"autocompress-quiet-{os.getuid()}"


def test_locks_lie_in_a_folder_of_the_users_own(temporary: Path, tmp_path: Path) -> None:
    assert own_folder() == temporary
    assert temporary.stat().st_mode & 0o077 == 0
    temporary.chmod(0o777)
    assert own_folder() == temporary and temporary.stat().st_mode & 0o077 == 0


def test_locks_do_not_lie_behind_a_link_or_in_a_file(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    temporary.symlink_to(tmp_path / "elsewhere")
    assert own_folder() == tmp_path / "cache" / "quiet"
    temporary.unlink()
    temporary.write_text("")
    assert own_folder() == tmp_path / "cache" / "quiet"
    with QuietMachine().measuring():
        assert list((tmp_path / "cache" / "quiet").iterdir())


@pytest.mark.skipif(os.getuid() != 0, reason="only root makes a folder of another user's")
def test_locks_do_not_lie_in_a_folder_of_another_user(temporary: Path, tmp_path: Path) -> None:
    temporary.mkdir()
    os.chown(temporary, 65534, 65534)
    assert own_folder() == tmp_path / "cache" / "quiet"


def test_what_runtimes_say_is_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    from autocompress.cli.runtime_table import print_runtimes

    print_runtimes(
        [
            {
                "name": "openvino",
                "available": False,
                "builds": False,
                "reason": "pip install 'autocompress[openvino]' :bee: [/red] [b]",
                "version": None,
                "devices": [],
            }
        ]
    )
    out = " ".join(capsys.readouterr().out.split())
    assert "'autocompress[openvino]'" in out and ":bee:" in out and "[/red] [b]" in out


def test_no_screen_of_ours_takes_markup() -> None:
    """All that is printed goes through one console, which takes text as it is."""
    from autocompress.cli import main

    folder = Path(main.callback.__code__.co_filename).parent  # type: ignore[union-attr]
    makers = [path.name for path in folder.glob("*.py") if "Console(" in path.read_text(encoding="utf-8")]
    assert makers == ["screen.py"]


BAD_NAMES = ["../x", "/etc/x", "", "my task", ".hidden", "a/b", "a\\b", "-x", "ä", "a\n", "x" * 101, None, 7]


@pytest.mark.parametrize("name", BAD_NAMES)
def test_the_name_of_a_task_is_that_of_a_folder(tiny_task: Path, tmp_path: Path, name: str) -> None:
    from dataclasses import replace

    import autocompress
    from autocompress.studies.task import load_task

    task = replace(load_task(str(tiny_task)), name=name)
    with pytest.raises(UsageError, match="name = ") as told:
        autocompress.compress(task, runs=tmp_path / "runs", trials=1)
    assert "\n" not in str(told.value) and not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "stem", ["my task", "_x", "täsk", "-", "..", "", "x" * 300, "a b.c", "名前", "[b]", "$x$", "12:30"]
)
def test_any_file_gives_a_study_a_name(stem: str) -> None:
    name = safe_name(stem)
    assert StudyFile().named(name).name == name
