"""Studies that were damaged, moved or written by other versions: one line and exit code 2, or what is left is shown."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from refused import assert_refused
from simulated_study import write_study

from autocompress.search.report.intact import TOLD

Cli = Callable[..., tuple[int, str, str]]


pytestmark = pytest.mark.usefixtures("elsewhere")


def test_pictures_and_tables_make_their_folders(cli: Cli, study: Path) -> None:
    assert cli("front", "simulated", "--plot", "new/a/x.SVG")[0] == 0
    assert cli("front", "simulated", "--parquet", "new/b/x.parquet")[0] == 0
    assert Path("new/a/x.SVG").is_file() and Path("new/b/x.parquet").is_file()


def test_a_study_without_models_has_no_picture(cli: Cli) -> None:
    write_study(Path("runs/none"), 1)
    for path in Path("runs/none").glob("study.db*"):
        path.unlink()
    shutil.rmtree("runs/none/trials")  # rows are made anew from there
    from autocompress.search.store.trials import TrialStore

    TrialStore(Path("runs/none"), "simulated", ("accuracy", "latency_ms"))
    assert_refused(cli("front", "none", "--plot", "x.svg"), "no finished model to draw")
    assert cli("front", "none", "--parquet", "x.parquet")[0] == 0


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda data: data["search"].update(trials="many"), ("search.trials",)),
        (lambda data: data.update(format="x"), ("another version",)),
    ],
)
def test_settings_of_another_version(
    cli: Cli, study: Path, change: Callable[[object], None], parts: tuple[str, ...]
) -> None:
    data = json.loads((study / "study.json").read_text())
    change(data)
    (study / "study.json").write_text(json.dumps(data))
    for command in ("front", "pick", "report"):
        assert_refused(cli(command, "simulated"), *parts)


def test_keys_of_a_later_version_are_passed_over_and_said(
    cli: Cli, study: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = json.loads((study / "study.json").read_text())
    data["later"] = data["search"]["afterwards"] = 1
    (study / "study.json").write_text(json.dumps(data))
    for command in ("front", "pick", "report"):
        assert cli(command, "simulated")[0] == 0
    said = " ".join(record.getMessage() for record in caplog.records)
    assert "later" in said and "search.afterwards" in said


@pytest.mark.parametrize("section", ["search", "budget", "target", "recovery"])
def test_settings_that_lack_a_section_have_its_defaults(cli: Cli, study: Path, section: str) -> None:
    data = json.loads((study / "study.json").read_text())
    del data[section]
    (study / "study.json").write_text(json.dumps(data))
    assert cli("front", "simulated")[0] == 0


@pytest.mark.parametrize("content", ["", "[]", "7", "null", '"x"', "{", "\x00"])
@pytest.mark.parametrize("name", ["study.json", "space.json", "task.json", "identity.json"])
def test_a_broken_file_of_a_study(cli: Cli, study: Path, name: str, content: str) -> None:
    (study / name).write_text(content)
    for command in (("front", "simulated"), ("space", "simulated"), ("pick", "simulated"), ("report", "simulated")):
        code, _, err = cli(*command)
        assert code in (0, 2) and "Traceback" not in err, (command, err)


def test_a_model_that_was_moved_away(cli: Cli, study: Path) -> None:
    for path in study.glob("trials/*/model.onnx"):
        path.unlink()
    for command in (("front", "simulated"), ("pick", "simulated"), ("pick", "simulated", "--out", "x")):
        code, _, err = cli(*command)
        assert code in (0, 2) and "Traceback" not in err
    assert_refused(cli("pick", "simulated", "--out", "x"), "is gone")
    left_out = [line for line in "".join(cli("front", "simulated")[1:]).splitlines() if "left out: " in line]
    assert 1 < len(left_out) <= TOLD + 1 and "more" in left_out[-1]


def test_a_study_elsewhere_can_be_looked_at(cli: Cli, study: Path) -> None:
    shutil.move(study, "folder/moved")
    for command in ("front", "pick", "report", "space"):
        assert cli(command, "folder/moved")[0] == 0
    assert_refused(cli("search", "folder/moved"), "was renamed")


@pytest.mark.parametrize("broken", ["a file", "a folder without rights"])
def test_a_cache_that_cannot_be_had_is_done_without(
    cli: Cli, study: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.setenv("AUTOCOMPRESS_CACHE", "file" if broken == "a file" else "/proc/none")
    assert cli("front", "simulated")[0] == 0


def test_a_lock_that_cannot_be_had(cli: Cli, tiny_task: Path) -> None:
    (Path("runs") / "tiny_task" / "lock").mkdir(parents=True)
    assert_refused(cli("search", "--task", tiny_task, "--trials", "1"), "lock" if os.getuid() else "cannot be written")
